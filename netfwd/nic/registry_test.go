package nic

import (
	"errors"
	"strings"
	"testing"

	"vvufwd/vfio/pci"
)

var drivers = Registry{
	{Name: "virtio-net", Chips: []Chip{{Vendor: 0x1af4, Device: 0x1041}, {Vendor: 0x1af4, Device: 0x1000}}},
	{Name: "e1000e", Chips: []Chip{{Vendor: 0x8086, Device: 0x10d3}}},
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		vendor, device uint16
		want           string
	}{{0x1af4, 0x1000, "virtio-net"}, {0x1af4, 0x1041, "virtio-net"}, {0x8086, 0x10d3, "e1000e"}} {
		d, err := drivers.Choose(pci.Info{Vendor: test.vendor, Device: test.device})
		if err != nil || d.Name != test.want {
			t.Errorf("%04x:%04x: got %q, %v; want %s", test.vendor, test.device, d.Name, err, test.want)
		}
	}
	if d, ok := drivers.Named("e1000e"); !ok || d.Name != "e1000e" {
		t.Error("a driver is not found by its name")
	}
	if _, ok := drivers.Named("nic"); ok {
		t.Error("there is a driver of a name that no one has")
	}
}

// An id that no one knows: one line that names the device, and lists those that are known.
func TestUnknownID(t *testing.T) {
	for _, id := range [][2]uint16{{0x8086, 0x1041}, {0x1af4, 0x1042}, {0x1022, 0x2000}, {0x8086, 0x100e}, {0x10ec, 0x8139}} { // the last two have INTx only
		_, err := drivers.Choose(pci.Info{Address: pci.Address{Device: 4}, Vendor: id[0], Device: id[1]})
		var unusable *pci.DeviceError
		if !errors.As(err, &unusable) {
			t.Fatalf("%x: got %v, want a DeviceError", id, err)
		}
		line := err.Error()
		for _, part := range []string{"0000:00:04.0: there is no driver for NIC", "virtio-net 1af4:1041 1af4:1000, e1000e 8086:10d3", "load its kernel driver", "--modules"} {
			if !strings.Contains(line, part) {
				t.Errorf("%q does not say %q", line, part)
			}
		}
		if strings.Contains(line, "\n") {
			t.Errorf("%q is more than a line", line)
		}
	}
}

// Addresses that were swapped: what is no NIC has a flag of its own.
func TestNotANIC(t *testing.T) {
	_, err := drivers.Choose(pci.Info{Address: pci.Address{Device: 5}, Vendor: 0x1af4, Device: 0x1058})
	if want := "0000:00:05.0: is no NIC but, by its id 1af4:1058, a virtio-vhost-user device: name it with --vvu, and the NIC with --nic: see lspci -nn"; !errors.Is(err, ErrNoDriver) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What the kernel drives is named by its interface.
func TestInterfaceInstead(t *testing.T) {
	for want, info := range map[string]pci.Info{
		"the kernel's r8169 makes of it, --nic eth0 (":         {Driver: "r8169", Interfaces: []string{"eth0"}},
		"mlx4_core makes of it, p0, p1, such as --nic p0 (":    {Driver: "mlx4_core", Interfaces: []string{"p0", "p1"}},
		"take it from vfio-pci, give it to its kernel driver ": {Driver: "vfio-pci"},
		"its kernel driver is nvme, which has made no interf":  {Driver: "nvme"},
	} {
		info.Address = pci.Address{Bus: 1}
		_, err := drivers.Choose(info)
		if !errors.Is(err, ErrNoDriver) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "0000:01:00.0: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", info, err, want)
		}
	}
}
