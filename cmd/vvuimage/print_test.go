package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/machine"
)

// printed is what is printed for arguments of vvufwd, with modules for NICs: QEMU's part and cloud-hypervisor's.
func printed(iommu machine.IOMMU, modules, args string) (qemu, cloud string) {
	o := options{kernel: "vmlinuz", output: "x.gz", words: strings.Fields(args), iommu: iommu}
	if modules != "" {
		o.nicModules = strings.Split(modules, ",")
	}
	var out bytes.Buffer
	o.print(&out)
	qemu, cloud, _ = strings.Cut(out.String(), "\n\n")
	return qemu, cloud
}

// devices are the NICs and the devices of app VMs in QEMU's command line, each with its slot, and the notes above it.
func devices(qemu string) (found, notes []string) {
	for line := range strings.Lines(qemu) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ` \`)
		switch device, is := strings.CutPrefix(line, "-device "); {
		case strings.HasPrefix(line, "# "):
			notes = append(notes, strings.TrimPrefix(line, "# "))
		case is && strings.Contains(device, "vfio-user-pci"):
			_, socket, _ := strings.Cut(device, `"path":"/tmp/`)
			socket, rest, _ := strings.Cut(socket, ".sock")
			_, slot, _ := strings.Cut(rest, `"addr":"`)
			found = append(found, socket+"@"+strings.TrimRight(slot, `"}'`))
		case is && strings.Contains(device, "netdev="):
			kind, _, _ := strings.Cut(device, ",")
			_, slot, _ := strings.Cut(device, ",addr=")
			found = append(found, kind+"@"+slot)
		}
	}
	return found, notes[1:] // the first is about QEMU
}

// Each port has a device, of the kind and at the address that it names.
func TestDevicesAsNamed(t *testing.T) {
	for _, tt := range []struct {
		modules, args string
		want          string
	}{
		{"", "--vvu=0000:00:05.0 --nic=0000:00:04.0", "virtio-net-pci@4 vvu@5"},
		{"", "--vvu 0000:00:05.0 --port igb:0000:00:04.0", "igb@4 vvu@5"},
		{"e1000e", "--vvu 0000:00:05.0 --port igb:0000:00:04.0", "igb@4 vvu@5"},
		{"igb", "--vvu 0000:00:05.0 --port virtio-net:0000:00:04.0", "virtio-net-pci@4 vvu@5"},
		{"", "--vvu 0000:00:05.0 --port=e1000e:0000:00:04.0,mac=52:54:00:00:00:01", "e1000e@4 vvu@5"},
		{"e1000e", "--vvu 0000:00:05.0 --nic eth0", "e1000e@4 vvu@5"},
		{"e1000e", "--vvu 0000:00:05.0 --nic 0000:00:04.0", "e1000e@4 vvu@5"},
		{"", "--port vvu:0000:00:08.0 --nic 00:1e.0 --vvu 0000:00:01.0 --port nic:0000:00:10.0", "virtio-net-pci@1e virtio-net-pci@10 vvu@8 vvu1@1"},
		{"", "--vvu 0000:00:04.0 --nic eth1 --vvu 0000:00:06.0 --nic eth0", "virtio-net-pci@5 virtio-net-pci@7 vvu@4 vvu1@6"},
		{"", "--vvu 0000:00:05.0 --port macvtap:eth0 --vvu 0000:00:06.0 --port macvtap:eth0", "virtio-net-pci@4 vvu@5 vvu1@6"},
		{"", "--vvu 0000:00:05.0 --port tap:t0 --vvu 0000:00:06.0 --vhost-user /a", "vvu@5 vvu1@6"},
		{"", "--vhost-user /a --port packet:eth0", "virtio-net-pci@4"},
		{"", "--vvu 0000:00:03.0 --nic 0000:00:1b.0 --vvu 0000:00:1c.0", "virtio-net-pci@1b vvu@3 vvu1@1c"}, // a machine that has nothing there itself
	} {
		qemu, _ := printed(machine.Intel, tt.modules, tt.args)
		if found, notes := devices(qemu); strings.Join(found, " ") != tt.want || len(notes) > 0 {
			t.Errorf("%s, with %q: devices %q, notes %q, want %s", tt.args, tt.modules, found, notes, tt.want)
		}
	}
}

// TAP devices, and so wires, are told apart.
func TestEachNICHasItsWire(t *testing.T) {
	qemu, _ := printed(machine.Intel, "", "--nic 0000:00:04.0 --nic 0000:00:06.0")
	for _, want := range []string{
		"tap,id=nic,ifname=tap0,", "netdev=nic,mac=52:54:00:00:00:04,", "tap,id=nic1,ifname=tap1,", "netdev=nic1,mac=52:54:00:00:01:04,",
	} {
		if !strings.Contains(qemu, want) {
			t.Errorf("no %q in\n%s", want, qemu)
		}
	}
}

// What cannot be where it is named is elsewhere, with a note.
func TestDevicesElsewhere(t *testing.T) {
	for _, tt := range []struct {
		iommu machine.IOMMU
		args  string
		want  string
		notes []string // how each begins
	}{
		{machine.Intel, "--vvu 0000:01:00.0 --nic 0000:00:04.0", "virtio-net-pci@4 vvu@5",
			[]string{"--vvu 0000:01:00.0: that is not on the machine's root bus, so the line has it at 0000:00:05.0: name that in --args, or set the address by hand."}},
		{machine.Intel, "--vvu 0001:00:05.0 --nic=0000:00:04.1", "virtio-net-pci@5 vvu@4",
			[]string{"--vvu 0001:00:05.0: that is not on the machine's root bus, so the line has it at 0000:00:04.0:", "--nic=0000:00:04.1: a device alone in its slot is function 0, so the line has it at 0000:00:05.0:"}},
		{machine.Intel, "--vvu 0000:00:00.0 --nic 0000:00:1f.0", "virtio-net-pci@5 vvu@4",
			[]string{"--vvu 0000:00:00.0: the host bridge is at 0000:00:00.0, so", "--nic 0000:00:1f.0: the chipset is at 0000:00:1f.0, so"}},
		{machine.Virtio, "--vvu 0000:00:05.0 --nic 0000:00:03.0", "virtio-net-pci@4 vvu@5",
			[]string{"--nic 0000:00:03.0: the virtio IOMMU is at 0000:00:03.0, so the line has it at 0000:00:04.0:"}},
		{machine.Intel, "--vvu 0000:00:1c.0 --nic 0000:00:1b.0 --control vsock:5000 --capture 0000:00:1c.0=virtio-serial:frames", "virtio-net-pci@5 vvu@4",
			[]string{"--vvu 0000:00:1c.0: the virtio-serial device is at 0000:00:1c.0, so", "--nic 0000:00:1b.0: the vsock device is at 0000:00:1b.0, so"}},
		{machine.Intel, "--vvu 0000:00:05.0 --nic 0000:00:05.0", "virtio-net-pci@4 vvu@5",
			[]string{"--nic 0000:00:05.0: another port has 0000:00:05.0, so the line has it at 0000:00:04.0:"}},
		// A virtual function is one of an igb some slots before it.
		{machine.Intel, "--vvu 0000:00:05.0 --port igbvf:0000:00:16.0", "igb@6 vvu@5",
			[]string{"--port igbvf:0000:00:16.0: a virtual function of the igb at 0000:00:06.0, once Linux's igb has made it"}},
		{machine.Intel, "--vvu 0000:00:05.0 --port igbvf:0000:00:0f.0", "igb@4 vvu@5",
			[]string{"--port igbvf:0000:00:0f.0: the first virtual function of an igb comes 16 slots after it, so the line has it at 0000:00:14.0:", "--port igbvf:0000:00:0f.0: a virtual function of the igb at 0000:00:04.0"}},
		{machine.Intel, "--vvu 0000:00:14.0 --port igbvf:0000:00:14.0", "igb@5 vvu@14",
			[]string{"--port igbvf:0000:00:14.0: another port has 0000:00:14.0, so the line has it at 0000:00:15.0:", "--port igbvf:"}},
		{machine.Intel, "--vvu 0000:00:05.0 --nic wlan0,l2nat", "vvu@5", []string{"--nic wlan0,l2nat: no one emulates a Wi-Fi card"}},
	} {
		qemu, _ := printed(tt.iommu, "", tt.args)
		found, notes := devices(qemu)
		if strings.Join(found, " ") != tt.want || !slices.EqualFunc(notes, tt.notes, strings.HasPrefix) {
			t.Errorf("%s: devices %q, want %s, notes\n%s", tt.args, found, tt.want, strings.Join(notes, "\n"))
		}
	}
}

// More devices than there are slots are not put anywhere else.
func TestNoSlotLeft(t *testing.T) {
	args := "--nic eth0"
	for slot := 1; slot < machine.LastSlot; slot++ {
		args += fmt.Sprintf(" --vvu=0000:00:%02x.0", slot)
	}
	qemu, _ := printed(machine.Intel, "", args)
	found, notes := devices(qemu)
	if want := []string{"--nic eth0: its NIC has no address, and no slot is free: add the device by hand."}; len(found) != 30 || !slices.Equal(notes, want) {
		t.Errorf("devices %q, notes %q", found, notes)
	}
}

// cloud-hypervisor gets what it has, and no command line if it has not all that vvufwd would look for.
func TestCloudHypervisor(t *testing.T) {
	for _, tt := range []struct {
		modules, args string
		want          []string
		line          bool // there is a command line
	}{
		{"", "--vvu 0000:00:05.0 --nic 0000:00:04.0", []string{"--net tap=tap0 \\\n", "--user-device socket=/tmp/vvu.sock \\\n"}, true},
		{"", "--vvu 0000:00:05.0 --nic 0000:00:04.0 --vvu 0000:00:06.0 --nic eth0", []string{"--net tap=tap0 tap=tap1 \\\n", "--user-device socket=/tmp/vvu.sock socket=/tmp/vvu1.sock \\\n"}, true},
		{"", "--vvu 0000:00:05.0 --nic 0000:00:04.0 --control vsock:5000", []string{"--vsock cid=3,socket=vsock.sock \\\n", "\n# Ports of vsock are behind vsock.sock, not at vsock:3:PORT: "}, true},
		{"", "--vvu 0000:00:05.0 --nic 0000:00:04.0 --capture 0000:00:05.0=virtio-serial:frames", []string{"no virtio-serial ports with names, such as virtio-serial:frames: give vsock:PORT"}, false},
		{"", "--vvu 0000:00:05.0 --port igb:0000:00:04.0", []string{"no NIC of the kind igb"}, false},
		{"e1000e", "--vvu 0000:00:05.0 --nic eth0", []string{"no NIC of the kind e1000e"}, false},
	} {
		_, cloud := printed(machine.None, tt.modules, tt.args+" --noiommu")
		for _, want := range tt.want {
			if !strings.Contains(cloud, want) {
				t.Errorf("%s: no %q in\n%s", tt.args, want, cloud)
			}
		}
		if got := strings.Contains(cloud, "cloud-hypervisor --kernel") || strings.Contains(cloud, "cloud-hypervisor \\\n"); got != tt.line {
			t.Errorf("%s: a command line: %v, want %v:\n%s", tt.args, got, tt.line, cloud)
		}
		if strings.Contains(cloud, "--vsock") != strings.Contains(tt.args, "vsock:") {
			t.Errorf("%s: vsock:\n%s", tt.args, cloud)
		}
	}
	if _, cloud := printed(machine.None, "", "--vhost-user /a --vhost-user /b"); strings.Contains(cloud, "--net") || strings.Contains(cloud, "--user-device") {
		t.Errorf("devices without a port:\n%s", cloud)
	}
}
