package appliance

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSetup(t *testing.T) {
	m := newModuleMachine(t)
	m.write("proc/meminfo", "MemAvailable: 400000 kB\n")
	m.write(hugePageCounter, "0\n")
	if err := m.setup(Config{HugePages: 16, VFIO: true}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"mount proc /proc", "mount sysfs /sys", "mount devtmpfs /dev", "mount hugetlbfs /dev/hugepages",
		"load vfio.ko", "load vfio_iommu_type1.ko dma_entry_limit=9",
		"load irqbypass.ko.xz", "load vfio-pci-core.ko", "load vfio-pci.ko ids=1af4:1017",
	}
	if diff := cmp.Diff(want, m.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := m.read(hugePageCounter); got != "16\n" {
		t.Errorf("%q huge pages, want 16", got)
	}
	if got := m.read(unsafeInterrupts[0]); got != "N\n" {
		t.Errorf("unsafe interrupts are %q without having been asked for", got)
	}
	if w := m.warnings(); w != "" {
		t.Errorf("warned of %s", w)
	}
}

func TestSetupWithoutVFIO(t *testing.T) {
	m := newTestMachine(t, nil)
	if err := m.setup(Config{}); err != nil {
		t.Error(err)
	}
	if len(m.calls) != len(fileSystems) {
		t.Errorf("calls %q, want the mounts only", m.calls)
	}
}

func TestAllowUnsafeInterrupts(t *testing.T) {
	m := newModuleMachine(t)
	if err := m.setupVFIO(Config{AllowUnsafeInterrupts: true}); err != nil {
		t.Fatal(err)
	}
	if got := m.read(unsafeInterrupts[0]); got != "Y\n" {
		t.Errorf("the switch is %q, want Y", got)
	}
	if w := m.warnings(); !strings.Contains(w, "unsafe interrupts") {
		t.Errorf("warning %q is not about the switch", w)
	}
	m = newModuleMachine(t)
	m.onLoad["vfio_iommu_type1.ko"] = nil
	if err := m.setupVFIO(Config{AllowUnsafeInterrupts: true}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "vfio_iommu_type1") {
		t.Errorf("without the switch: %v", err)
	}
	if _, err := os.Stat(m.path(unsafeInterrupts[0])); err == nil {
		t.Error("the switch was made rather than found")
	}
}

func TestUnsafeInterruptsOfIOMMUFD(t *testing.T) {
	m := newModuleMachine(t)
	m.onLoad["vfio_iommu_type1.ko"] = nil
	m.write(unsafeInterrupts[1], "N\n")
	if err := m.setupVFIO(Config{AllowUnsafeInterrupts: true}); err != nil || m.read(unsafeInterrupts[1]) != "Y\n" {
		t.Errorf("the switch is %q, %v", m.read(unsafeInterrupts[1]), err)
	}
}

// TestNoIOMMU turns the kernel's mode on only if told to, and says what to do where it has none.
func TestNoIOMMU(t *testing.T) {
	for _, want := range []bool{false, true} {
		m := newModuleMachine(t)
		load := m.onLoad["vfio.ko"]
		m.onLoad["vfio.ko"] = func() {
			load()
			m.write(noIOMMUSwitch, "N\n")
		}
		if err := m.setup(Config{VFIO: true, NoIOMMU: want}); err != nil {
			t.Error(err)
		}
		if got := m.read(noIOMMUSwitch); (got == "Y\n") != want {
			t.Errorf("told %v, the switch is %q", want, got)
		}
	}
	m := newModuleMachine(t)
	err := m.setup(Config{VFIO: true, NoIOMMU: true})
	if !errors.Is(err, ErrVFIO) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a kernel without the mode: %v", err)
	}
	for _, says := range []string{"--noiommu: ", "the kernel has no no-IOMMU mode", "CONFIG_VFIO_NOIOMMU=y", "-device intel-iommu"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
}

// TestKernelWithContainersOfIOMMUFDOnly has no /dev/vfio/vfio.
func TestKernelWithContainersOfIOMMUFDOnly(t *testing.T) {
	m := newModuleMachine(t)
	m.onLoad["vfio.ko"] = func() { m.write(iommufd, "") }
	if err := m.setupVFIO(Config{}); err != nil {
		t.Error(err)
	}
}

func TestBuiltInVFIO(t *testing.T) {
	m := newTestMachine(t, map[string]string{
		vfioContainer: "", vfioPCI + "/bind": "", unsafeInterrupts[0]: "N\n", "sys/module/vfio_pci/parameters/ids": "",
	})
	// There is no sign of a module vfio, and no /lib/modules at all.
	if err := m.setupVFIO(Config{}); err != nil {
		t.Error(err)
	}
	if w := m.warnings(); w != "" {
		t.Errorf("warned of %s", w)
	}
}

func TestIncompleteVFIO(t *testing.T) {
	t.Run("nothing", func(t *testing.T) {
		m := newTestMachine(t, nil)
		err := m.setupVFIO(Config{})
		if !errors.Is(err, ErrVFIO) || !strings.Contains(err.Error(), "no /dev/vfio/vfio") || !strings.Contains(err.Error(), "modules.dep") {
			t.Errorf("error %v does not say what is missing and why", err)
		}
		if m.slept != 0 {
			t.Errorf("waited %v for a device that cannot come", m.slept)
		}
	})
	t.Run("no device node", func(t *testing.T) {
		m := newModuleMachine(t)
		m.onLoad["vfio.ko"] = nil
		err := m.setupVFIO(Config{})
		if !errors.Is(err, ErrVFIO) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "dmesg") {
			t.Errorf("error %v does not say what is missing and where to look", err)
		}
		if m.slept != deviceTimeout {
			t.Errorf("waited %v for the device, want %v", m.slept, deviceTimeout)
		}
	})
	t.Run("no vfio-pci", func(t *testing.T) {
		m := newModuleMachine(t)
		m.loadErr["vfio-pci.ko"] = os.ErrPermission
		m.onLoad["vfio-pci.ko"] = nil
		err := m.setupVFIO(Config{})
		if !errors.Is(err, ErrVFIO) || !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "vfio-pci") || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v does not say in one line what is missing and why", err)
		}
	})
	t.Run("no type1", func(t *testing.T) {
		m := newModuleMachine(t)
		m.loadErr["vfio_iommu_type1.ko"] = os.ErrPermission
		m.onLoad["vfio_iommu_type1.ko"] = nil
		if err := m.setupVFIO(Config{}); err != nil {
			t.Error(err)
		}
		if w := m.warnings(); !strings.Contains(w, "vfio_iommu_type1") {
			t.Errorf("warning %q does not name the module", w)
		}
	})
	t.Run("late", func(t *testing.T) {
		m := newModuleMachine(t)
		m.onLoad["vfio.ko"] = nil
		sleep := m.sleep
		m.sleep = func(d time.Duration) {
			sleep(d)
			m.write(vfioContainer, "")
		}
		if err := m.setupVFIO(Config{}); err != nil {
			t.Error(err)
		}
		if m.slept != devicePoll {
			t.Errorf("waited %v, want one poll", m.slept)
		}
	})
}
