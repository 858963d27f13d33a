package vfio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
)

func TestOpenOrder(t *testing.T) {
	m := newMachine(t)
	c, _ := m.open()
	if _, err := c.Open(pci.Address{Device: 6}); err != nil {
		t.Fatal(err)
	}
	// The IOMMU model is chosen once, after the first group has joined.
	want := []string{"set container", "set IOMMU 3", "open 0000:00:04.0", "set container", "open 0000:00:06.0"}
	if diff := cmp.Diff(want, m.kernel.calls); diff != "" {
		t.Error(diff)
	}
}

// TestOpenErrors: each is one line, names the device and says what to do.
func TestOpenErrors(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(m *machine)
		addr    pci.Address
		says    []string
	}{
		"no such device": {nil, pci.Address{Device: 9}, []string{"0000:00:09.0: no such PCI device", "0000:00:04.0"}},
		"bound to another driver": {
			nil, pci.Address{Device: 5},
			[]string{"0000:00:05.0: is bound to virtio-pci", "--bind", "driver_override", "/0000:00:05.0/driver/unbind", "drivers_probe"},
		},
		"not bound": {
			func(m *machine) { m.function("0000:00:07.0", "", "9") }, pci.Address{Device: 7},
			[]string{"0000:00:07.0: is not bound to vfio-pci", "--bind", "driver_override"},
		},
		"no IOMMU group": {
			func(m *machine) { m.function("0000:00:07.0", "virtio-pci", "") }, pci.Address{Device: 7},
			[]string{"0000:00:07.0: is in no IOMMU group", "-device intel-iommu,intremap=on,caching-mode=on", "intel_iommu=on"},
		},
		"no-IOMMU group": {
			func(m *machine) { m.write(m.sys, "kernel/iommu_groups/8/name", "vfio-noiommu\n") }, pci.Address{Device: 6},
			[]string{"0000:00:06.0: is in a no-IOMMU group", "--noiommu", "-device intel-iommu,intremap=on"},
		},
		"group not viable": {
			func(m *machine) { m.kernel.notViable = true }, pci.Address{Device: 4},
			[]string{"0000:00:04.0: its IOMMU group 7 is not viable", "0000:00:05.0 (virtio-pci)"},
		},
		"no interrupt remapping": {
			func(m *machine) { m.kernel.setIOMMU = fmt.Errorf("VFIO_SET_IOMMU: %w", unix.EPERM) }, pci.Address{Device: 4},
			[]string{"0000:00:04.0: the IOMMU does not remap interrupts", "intremap=on", "allow_unsafe_interrupts"},
		},
		"no type 1": {
			func(m *machine) { m.kernel.noType1 = true }, pci.Address{Device: 4}, []string{"modprobe vfio_iommu_type1"},
		},
		"group in use": {
			func(m *machine) { m.kernel.setContainer = unix.EBUSY }, pci.Address{Device: 4},
			[]string{"0000:00:04.0: its IOMMU group 7", "stop the other program"},
		},
		"group node missing": {
			func(m *machine) { m.check(os.Remove(filepath.Join(m.dev, "7"))) }, pci.Address{Device: 4},
			[]string{"/7: cannot be opened", "modprobe vfio-pci"},
		},
		"device does not open": {
			func(m *machine) { m.kernel.openDevice = unix.EINVAL }, pci.Address{Device: 4},
			[]string{"0000:00:04.0: VFIO cannot open it", "dmesg"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			if c.arrange != nil {
				c.arrange(m)
			}
			container, err := m.container()
			if err != nil {
				t.Fatal(err)
			}
			defer container.Close()
			_, err = container.Open(c.addr)
			checkDeviceError(t, err, c.says...)
		})
	}
}

func checkDeviceError(t *testing.T, err error, says ...string) {
	t.Helper()
	var deviceErr *pci.DeviceError
	if !errors.As(err, &deviceErr) {
		t.Fatalf("%v is no DeviceError", err)
	}
	if deviceErr.Remedy == "" || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q has no remedy or is not one line", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

func TestOpenContainerErrors(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(m *machine)
		says    []string
	}{
		"no node": {func(m *machine) { m.check(os.Remove(filepath.Join(m.dev, "vfio"))) }, []string{"/vfio: cannot be opened", "modprobe vfio-pci"}},
		"version": {func(m *machine) { m.kernel.apiVersion = 7 }, []string{"version 7"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.arrange(m)
			_, err := m.container()
			checkDeviceError(t, err, c.says...)
		})
	}
}

func TestOpenTwice(t *testing.T) {
	m := newMachine(t)
	c, d := m.open()
	_, err := c.Open(d.Address())
	checkDeviceError(t, err, "0000:00:04.0: is already in use")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(d.Address()); err != nil {
		t.Errorf("open again after Close: %v", err)
	}
	// The group stays, so it does not join again.
	if n := strings.Count(strings.Join(m.kernel.calls, "\n"), "set container"); n != 1 {
		t.Errorf("the group joined %d times", n)
	}
}

func TestFailedJoinCanBeRepeated(t *testing.T) {
	m := newMachine(t)
	c, err := m.container()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m.kernel.notViable = true
	if _, err := c.Open(pci.Address{Device: 4}); err == nil {
		t.Fatal("a group that is not viable joins")
	}
	m.kernel.notViable = false
	if _, err := c.Open(pci.Address{Device: 4}); err != nil {
		t.Error(err)
	}
}
