package vfio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
)

var function7, function8 = pci.Address{Device: 7}, pci.Address{Device: 8}

// bareMachine has two functions more, 07.0 and 08.0, which no IOMMU confines: groups 20
// and 21 of the kernel's no-IOMMU mode.
func bareMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.write(m.sys, pci.NoIOMMUSwitch, "Y\n")
	for i, name := range []string{"0000:00:07.0", "0000:00:08.0"} {
		group := fmt.Sprint(20 + i)
		m.function(name, "vfio-pci", group)
		m.write(m.sys, "kernel/iommu_groups/"+group+"/name", "vfio-noiommu\n")
		m.write(m.dev, "noiommu-"+group, "")
	}
	return m
}

// pages takes ordinary pages for huge ones.
func (m *machine) pages(n int) (*dma.Physical, error) {
	fd, err := unix.MemfdCreate("pages", unix.MFD_CLOEXEC)
	m.check(err)
	file := os.NewFile(uintptr(fd), "pages")
	m.check(file.Truncate(int64(n) * dma.Alignment))
	var places []dma.IOVA
	for i := range n {
		places = append(places, dma.IOVA(100+i)*dma.Alignment)
	}
	return dma.InheritPhysical(file, places)
}

func (m *machine) openBare(functions ...pci.Address) (*Bare, error) {
	pages := func(bare []pci.Address) int { return 2 * len(bare) }
	return openBare(functions, BareConfig{Sysfs: m.sysfs(), Pages: pages}, m.calls(), m.dev, m.pages)
}

// TestBare opens a machine's devices, of which an IOMMU confines one and two not, hands
// the two to another process, and uses all three there.
func TestBare(t *testing.T) {
	m := bareMachine(t)
	bare, err := m.openBare(function4, function7, function8)
	m.check(err)
	want := []string{"set container", "set IOMMU 8", "open 0000:00:07.0", "set container", "open 0000:00:08.0"}
	if !slices.Equal(m.kernel.calls, want) {
		t.Errorf("calls %q, want %q", m.kernel.calls, want)
	}
	if got := bare.Functions(); !slices.Equal(got, []pci.Address{function7, function8}) || bare.Pages() != 4 {
		t.Errorf("functions %v, %d pages", got, bare.Pages())
	}
	handed := map[string]*os.File{}
	m.check(bare.Hand(handed))
	m.check(bare.Close())
	take := func(name string) *os.File {
		f := handed[name]
		delete(handed, name)
		return f
	}
	other, err := InheritBare(take)
	m.check(err)
	if len(handed) > 0 {
		t.Errorf("no one has taken %v", handed)
	}
	c, err := m.containerWith(other)
	m.check(err)
	defer func() { m.check(c.Close()) }()
	m.kernel.calls = nil
	first, err := c.Open(function7)
	m.check(err)
	second, err := c.Open(function8)
	m.check(err)
	guarded, err := c.Open(function4)
	m.check(err)
	if slices.Contains(m.kernel.calls, "open 0000:00:07.0") || !slices.Contains(m.kernel.calls, "set IOMMU 3") {
		t.Errorf("calls %q", m.kernel.calls)
	}
	if !first.Untranslated() || !second.Untranslated() || guarded.Untranslated() || first.Arena() != second.Arena() || first.Arena() == guarded.Arena() {
		t.Errorf("modes %v, %v, %v", first.Mode(), second.Mode(), guarded.Mode())
	}
	mem, err := first.Arena().Alloc(3<<20, 4096)
	if err != nil || mem.IOVA != 100*dma.Alignment || len(m.kernel.mapped) > 0 {
		t.Errorf("memory lies at %v, %v is mapped, %v", mem.IOVA, m.kernel.mapped, err)
	}
	if _, err := first.Arena().Alloc(6<<20, 4096); !errors.Is(err, dma.ErrHugePages) {
		t.Errorf("more than there is: %v", err)
	}
	if _, err := guarded.Arena().Alloc(4096, 4096); err != nil || len(m.kernel.mapped) != 1 {
		t.Errorf("behind an IOMMU %v is mapped, %v", m.kernel.mapped, err)
	}
}

// TestBareComesBack: another process opens it again, for a container that may have other
// such groups or none.
func TestBareComesBack(t *testing.T) {
	for _, last := range []bool{false, true} {
		m := bareMachine(t)
		bare, err := m.openBare(function7, function8)
		m.check(err)
		c, err := m.containerWith(bare)
		m.check(err)
		first, err := c.Open(function7)
		m.check(err)
		second, err := c.Open(function8)
		m.check(err)
		mem, err := first.Arena().Alloc(4096, 4096)
		m.check(err)
		m.check(first.Release())
		if last {
			m.check(second.Release())
		}
		m.kernel.calls, m.kernel.setAlready = nil, !last
		files, err := m.opener(c).OpenFiles(function7)
		m.check(err)
		if files.Mode != NoIOMMU || files.Group != 20 || !slices.Contains(m.kernel.calls, "set IOMMU 8") {
			t.Errorf("files %+v, calls %q", files, m.kernel.calls)
		}
		first, err = c.Adopt(function7, files)
		m.check(err)
		if again, err := first.Arena().Alloc(4096, 4096); err != nil || again.IOVA != mem.IOVA+4096 || len(m.kernel.mapped) > 0 {
			t.Errorf("memory lies at %v after %v, %v is mapped, %v", again.IOVA, mem.IOVA, m.kernel.mapped, err)
		}
		m.check(c.Close())
	}
}

// TestBareUnused: functions that no one opens are closed with the container.
func TestBareUnused(t *testing.T) {
	m := bareMachine(t)
	open := countFiles()
	bare, err := m.openBare(function7, function8)
	m.check(err)
	c, err := m.containerWith(bare)
	m.check(err)
	m.check(c.Close())
	m.check(bare.Close())
	if n := countFiles(); n != open {
		t.Errorf("%d files are open, want %d", n, open)
	}
}

func TestNoBare(t *testing.T) {
	m := bareMachine(t)
	bare, err := m.openBare(function4, function6)
	if bare != nil || err != nil || len(bare.Functions()) > 0 || bare.Pages() > 0 || bare.Close() != nil || bare.Hand(nil) != nil {
		t.Errorf("functions behind an IOMMU were opened: %v, %v", bare, err)
	}
	bare, err = InheritBare(func(string) *os.File { return nil })
	if bare != nil || err != nil {
		t.Errorf("inherited %v, %v", bare, err)
	}
}

// TestBareErrors: each is one line, says what to do, and leaves nothing open.
func TestBareErrors(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(m *machine)
		says    []string
	}{
		"no such device": {func(m *machine) { m.check(os.Remove(m.sys + "/bus/pci/devices/0000:00:07.0/vendor")) }, []string{"0000:00:07.0"}},
		"bound to another driver": {
			func(m *machine) {
				m.check(os.Remove(m.sys + "/bus/pci/devices/0000:00:08.0/driver"))
				m.check(os.Symlink("../../drivers/e1000e", m.sys+"/bus/pci/devices/0000:00:08.0/driver"))
			}, []string{"0000:00:08.0: is bound to e1000e", "--bind", "driver_override"},
		},
		"the kernel has no such mode": {
			func(m *machine) {
				m.check(os.Remove(m.sys + "/kernel/iommu_groups/20/name"))
				m.check(os.Remove(m.sys + "/bus/pci/devices/0000:00:07.0/iommu_group"))
				m.check(os.Remove(filepath.Join(m.sys, pci.NoIOMMUSwitch)))
			}, []string{"0000:00:07.0: is in no IOMMU group, and the kernel has no no-IOMMU mode", "CONFIG_VFIO_NOIOMMU=y"},
		},
		"the mode is off": {
			func(m *machine) {
				m.check(os.Remove(m.sys + "/bus/pci/devices/0000:00:07.0/iommu_group"))
				m.write(m.sys, pci.NoIOMMUSwitch, "N\n")
			}, []string{"0000:00:07.0: is in no IOMMU group", "its no-IOMMU mode is off", "echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"},
		},
		"bound before the mode was on": {
			func(m *machine) { m.check(os.Remove(m.sys + "/bus/pci/devices/0000:00:07.0/iommu_group")) },
			[]string{"0000:00:07.0: is bound to vfio-pci, but is in no no-IOMMU group", "unbind it"},
		},
		"no capability": {
			func(m *machine) { m.kernel.setContainer = unix.EPERM }, []string{"0000:00:07.0: a device that no IOMMU confines takes CAP_SYS_RAWIO", "run as root"},
		},
		"no model": {func(m *machine) { m.kernel.noNoIOMMU = true }, []string{"the kernel has no support for devices without an IOMMU", "CONFIG_VFIO_NOIOMMU=y"}},
		"in use":   {func(m *machine) { m.kernel.openDevice = unix.EBUSY }, []string{"0000:00:07.0: VFIO cannot open it"}},
		"no node":  {func(m *machine) { m.check(os.Remove(filepath.Join(m.dev, "noiommu-20"))) }, []string{"/noiommu-20: cannot be opened"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := bareMachine(t)
			c.arrange(m)
			open := countFiles()
			bare, err := m.openBare(function7, function8)
			if bare != nil || err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, %v", bare, err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if n := countFiles(); n != open {
				t.Errorf("%d files are open, want %d", n, open)
			}
		})
	}
	m := bareMachine(t)
	open := countFiles()
	_, err := openBare([]pci.Address{function7}, BareConfig{Sysfs: m.sysfs(), Pages: func([]pci.Address) int { return 1 }}, m.calls(), m.dev,
		func(int) (*dma.Physical, error) { return nil, dma.ErrNoLocation })
	if !errors.Is(err, dma.ErrNoLocation) || countFiles() != open {
		t.Errorf("without the capability: %v, %d files are open, want %d", err, countFiles(), open)
	}
}

// TestInheritHalf: a process that is handed less than all leaves nothing open.
func TestInheritHalf(t *testing.T) {
	for _, missing := range []string{handedNode, handedPages, handedGroup + "20", handedDevice + "0000:00:07.0"} {
		m := bareMachine(t)
		bare, err := m.openBare(function7)
		m.check(err)
		handed := map[string]*os.File{}
		m.check(bare.Hand(handed))
		m.check(bare.Close())
		open := countFiles() - len(handed)
		m.check(handed[missing].Close())
		delete(handed, missing)
		got, err := InheritBare(func(name string) *os.File {
			f := handed[name]
			delete(handed, name)
			return f
		})
		if got != nil || err == nil {
			t.Errorf("without %s: %v, %v", missing, got, err)
		}
		for _, f := range handed {
			f.Close()
		}
		if n := countFiles(); n != open {
			t.Errorf("without %s: %d files are open, want %d", missing, n, open)
		}
	}
}
