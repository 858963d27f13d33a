package vfio

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
)

var function4, function6 = pci.Address{Device: 4}, pci.Address{Device: 6}

// TestIOMMUFDIsChosen where a device has a file of its own and the machine has iommufd.
func TestIOMMUFDIsChosen(t *testing.T) {
	m := newMachine(t)
	m.cdev("0000:00:04.0", "vfio0")
	m.kernel.ranges = [][2]uint64{{0x8000_0000, 0x8fff_ffff}}
	_, d := m.open()
	if want := []string{"bind to iommufd", "attach to 1"}; !slices.Equal(m.kernel.calls, want) {
		t.Errorf("calls %q, want %q", m.kernel.calls, want)
	}
	if d.Mode() != IOMMUFD || d.Untranslated() {
		t.Errorf("mode %v", d.Mode())
	}
	mem, err := d.Arena().Alloc(4096, 4096)
	if err != nil || mem.IOVA != 0x8000_0000 || m.kernel.mapped[0x8000_0000] != 2<<20 {
		t.Errorf("memory at %v, mappings %v, %v", mem.IOVA, m.kernel.mapped, err)
	}
	// The address space and its mappings last when the device goes, and are there when it comes back.
	m.check(d.Release())
	if len(m.kernel.mapped) != 1 {
		t.Errorf("mappings after Release: %v", m.kernel.mapped)
	}
}

// TestIOMMUFDIsNotThere: half of what it takes is not enough.
func TestIOMMUFDIsNotThere(t *testing.T) {
	for name, arrange := range map[string]func(m *machine){
		"no iommufd":       func(m *machine) { m.check(os.Remove(filepath.Join(m.dev, "iommu"))) },
		"no file":          func(m *machine) { m.check(os.Remove(filepath.Join(m.dev, "devices/vfio0"))) },
		"no name in sysfs": func(m *machine) { m.check(os.RemoveAll(filepath.Join(m.sys, "bus/pci/devices/0000:00:04.0/vfio-dev"))) },
	} {
		m := newMachine(t)
		m.cdev("0000:00:04.0", "vfio0")
		arrange(m)
		if _, d := m.open(); d.Mode() != Type1 {
			t.Errorf("%s: mode %v", name, d.Mode())
		}
	}
}

// TestKernelWithoutGroups has no /dev/vfio/vfio.
func TestKernelWithoutGroups(t *testing.T) {
	m := newMachine(t)
	m.cdev("0000:00:04.0", "vfio0")
	m.check(os.Remove(filepath.Join(m.dev, "vfio")))
	c, _ := m.open()
	_, err := c.Open(function6)
	checkDeviceError(t, err, "0000:00:06.0: has no file in ", "CONFIG_VFIO_DEVICE_CDEV")
}

// TestBothKinds: a device with a file of its own and one without share no address space.
func TestBothKinds(t *testing.T) {
	m := newMachine(t)
	m.cdev("0000:00:04.0", "vfio0")
	c, first := m.open()
	second, err := c.Open(function6)
	m.check(err)
	if first.Mode() != IOMMUFD || second.Mode() != Type1 || first.Arena() == second.Arena() {
		t.Errorf("modes %v and %v", first.Mode(), second.Mode())
	}
}

func TestIOMMUFDErrors(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(m *machine)
		says    []string
	}{
		"no interrupt remapping": {
			func(m *machine) { m.kernel.attach = unix.EPERM },
			[]string{"0000:00:04.0: the IOMMU does not remap interrupts", "/sys/module/iommufd/parameters/allow_unsafe_interrupts", "--allow-unsafe-interrupts"},
		},
		"in use": {
			func(m *machine) { m.kernel.bind = unix.EBUSY }, []string{"0000:00:04.0: iommufd does not take it", "stop the other program"},
		},
		"odd": {
			func(m *machine) { m.kernel.bind = unix.EINVAL }, []string{"0000:00:04.0: iommufd does not take it (invalid argument): see dmesg"},
		},
		"no number": {
			func(m *machine) { m.kernel.spaces = ^uint32(0) }, []string{"an address space without a number"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.cdev("0000:00:04.0", "vfio0")
			c.arrange(m)
			container, err := m.container()
			m.check(err)
			defer container.Close()
			open := countFiles()
			_, err = container.Open(function4)
			checkDeviceError(t, err, c.says...)
			if n := countFiles(); n != open {
				t.Errorf("%d files are open, want %d", n, open)
			}
		})
	}
}

// TestOddIOMMUPages: an IOMMU whose pages are larger than what memory comes in.
func TestOddIOMMUPages(t *testing.T) {
	for _, mode := range []Mode{Type1, IOMMUFD} {
		m := newMachine(t)
		if mode == IOMMUFD {
			m.cdev("0000:00:04.0", "vfio0")
		}
		m.kernel.alignment = 16 << 20
		_, d := m.open()
		if _, err := d.Arena().Alloc(1, 1); d.Mode() != mode || err == nil || !strings.Contains(err.Error(), "pages of 0x1000000 bytes") {
			t.Errorf("%v: error: %v", d.Mode(), err)
		}
	}
}

// TestIOMMUFDBeforeADevice: nothing can be mapped, and nothing is left behind.
func TestIOMMUFDBeforeADevice(t *testing.T) {
	m := newMachine(t)
	m.cdev("0000:00:04.0", "vfio0")
	c, err := m.container()
	m.check(err)
	space := c.spaces[IOMMUFD].(*ioas)
	if _, err := space.memory().Alloc(1, 1); err == nil {
		t.Error("memory for no device")
	}
	if err := space.MapDMA(nil, 0); err == nil {
		t.Error("nothing was mapped")
	}
	m.check(c.Close())
	if err := space.MapDMA([]byte{0}, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := space.join(0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestIOMMUFDComesBack with files that another process has opened, which has not bound them.
func TestIOMMUFDComesBack(t *testing.T) {
	m := newMachine(t)
	m.cdev("0000:00:04.0", "vfio0")
	c, d := m.open()
	mem, err := d.Arena().Alloc(4096, 4096)
	m.check(err)
	m.check(d.Release())
	m.kernel.calls = nil
	files, err := m.opener(c).OpenFiles(function4)
	m.check(err)
	if len(m.kernel.calls) > 0 || files.Mode != IOMMUFD || files.GroupFD != -1 {
		t.Errorf("files %+v were opened with %q", files, m.kernel.calls)
	}
	d, err = c.Adopt(function4, files)
	m.check(err)
	if d.Mode() != IOMMUFD || len(m.kernel.mapped) != 1 || m.kernel.mapped[uint64(mem.IOVA)] == 0 {
		t.Errorf("mode %v, mappings %v", d.Mode(), m.kernel.mapped)
	}
	m.check(d.Release())
	files, err = m.opener(c).OpenFiles(function4)
	m.check(err)
	open := countFiles()
	m.kernel.bind = unix.EBUSY
	if _, err := c.Adopt(function4, files); !errors.Is(err, unix.EBUSY) || countFiles() != open-1 {
		t.Errorf("error %v, %d files are open, want %d", err, countFiles(), open-1)
	}
}

// TestAdoptForNoSpace: files of a mode that the container does not have.
func TestAdoptForNoSpace(t *testing.T) {
	m := newMachine(t)
	c, d := m.open()
	m.check(d.Release())
	fd, err := m.kernel.GroupDeviceFD(0, "")
	m.check(err)
	for _, mode := range []Mode{IOMMUFD, NoIOMMU, 77} {
		again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		m.check(err)
		if _, err := c.Adopt(function4, Files{Mode: mode, GroupFD: -1, DeviceFD: again}); err == nil || !strings.Contains(err.Error(), mode.String()) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	m.check(unix.Close(fd))
}
