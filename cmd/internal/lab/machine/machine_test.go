package machine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func boot(v Version) Boot {
	return Boot{
		QEMU:   QEMU{Command: []string{"ld.so", "qemu"}, Version: v},
		Kernel: "vmlinuz", Initrd: "initrd", Accel: "tcg", SMP: 2, MemoryMiB: 256,
	}
}

// lines writes a command line as one option with its value a line.
func lines(argv []string) string {
	return strings.ReplaceAll(strings.Join(argv, " "), " -", "\n-") + "\n"
}

func TestDriverWithVfioUser(t *testing.T) {
	d := Driver{
		Boot: boot(VfioUser), Sockets: []string{"/tmp/a, b/vfio-user"}, Net: Backend{ForwardPorts: []int{4711}}, Pcap: "/tmp/a,b/nic.pcap",
		InitArgs: []string{"--vvu", VVUAddress(0), "--nic", NICAddress},
	}
	want := `ld.so qemu
-nodefaults
-no-user-config
-display none
-serial stdio
-no-reboot
-accel tcg,thread=multi
-cpu max,-erms,-fsrm
-smp 2
-m 256M
-kernel vmlinuz
-initrd initrd
-append console=ttyS0 quiet panic=-1 no_timer_check cryptomgr.notests lpj=10000000 intel_iommu=on
--
--vvu 0000:00:05.0
--nic 0000:00:04.0
-object memory-backend-memfd,id=ram,size=256M,share=on
-machine q35,kernel-irqchip=split,memory-backend=ram
-device intel-iommu,caching-mode=on,intremap=on
-netdev user,id=nic,ipv6=off,hostfwd=tcp:127.0.0.1:4711-10.0.2.15:80
-device virtio-net-pci,netdev=nic,mac=52:54:00:00:00:04,disable-legacy=on,iommu_platform=on,romfile=,addr=4
-object filter-dump,id=dump,netdev=nic,file=/tmp/a,,b/nic.pcap
-device {"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/a, b/vfio-user"},"addr":"5"}
`
	if diff := cmp.Diff(want, lines(d.Argv())); diff != "" {
		t.Errorf("command line (-want +got):\n%s", diff)
	}
}

// TestDriverWithBuiltInDevice checks the options that the 2019 fork (QEMU 3.1) needs and those that it does not know.
func TestDriverWithBuiltInDevice(t *testing.T) {
	argv := Driver{Boot: boot(Version{3, 1}), VVU: BuiltIn, Sockets: []string{"/tmp/vvu"}, Net: Backend{TAP: "tap0"}}.Argv()
	for _, want := range []string{
		"intel-iommu,caching-mode=on,intremap=on,eim=off",
		"socket,id=vvu0,path=/tmp/vvu,server,nowait",
		"virtio-vhost-user-pci,chardev=vvu0,disable-legacy=on,iommu_platform=on,addr=5",
		"tap,id=nic,ifname=tap0,script=no,downscript=no,vhost=off",
		"q35,kernel-irqchip=split", "max,-erms",
	} {
		if !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
	if text := lines(argv); strings.Contains(text, "memory-backend") || strings.Contains(text, "vfio-user") {
		t.Errorf("options of newer versions in\n%s", text)
	}
	newer := Driver{Boot: boot(Version{6, 0}), VVU: BuiltIn, Sockets: []string{"/tmp/vvu"}}.Argv()
	if !slices.Contains(newer, "socket,id=vvu0,path=/tmp/vvu,server=on,wait=off") {
		t.Errorf("version 6.0 gets\n%s", lines(newer))
	}
}

// TestDriverIOMMUs: what a virtio IOMMU and none change.
func TestDriverIOMMUs(t *testing.T) {
	for _, c := range []struct {
		iommu     IOMMU
		vvu       VVU
		want, not []string
	}{
		{None, VfioUserServer, []string{"virtio-net-pci,netdev=nic,mac=52:54:00:00:00:04,disable-legacy=on,romfile=,addr=4"}, []string{"iommu"}},
		{None, BuiltIn, []string{"virtio-vhost-user-pci,chardev=vvu0,disable-legacy=on,addr=5"}, []string{"iommu"}},
		{Virtio, VfioUserServer, []string{
			"virtio-iommu-pci,addr=3", "virtio-net-pci,netdev=nic,mac=52:54:00:00:00:04,disable-legacy=on,iommu_platform=on,romfile=,addr=4",
		}, []string{"intel"}},
		{Virtio, BuiltIn, []string{"virtio-vhost-user-pci,chardev=vvu0,disable-legacy=on,iommu_platform=on,addr=5"}, []string{"intel"}},
	} {
		argv := Driver{Boot: boot(VfioUser), VVU: c.vvu, IOMMU: c.iommu, Sockets: []string{"/tmp/vvu"}}.Argv()
		for _, want := range c.want {
			if !slices.Contains(argv, want) {
				t.Errorf("%v: no %q in\n%s", c.iommu, want, lines(argv))
			}
		}
		for _, not := range c.not {
			if strings.Contains(lines(argv), not) {
				t.Errorf("%v: %q in\n%s", c.iommu, not, lines(argv))
			}
		}
		if again, err := ParseIOMMU(c.iommu.String()); err != nil || again != c.iommu {
			t.Errorf("%v is read as %v, %v", c.iommu, again, err)
		}
	}
	if _, err := ParseIOMMU("amd"); err == nil {
		t.Error("an unknown IOMMU was accepted")
	}
}

// TestDriverOfSeveral has two app VMs and a NIC with four queue pairs.
func TestDriverOfSeveral(t *testing.T) {
	d := Driver{
		Boot: boot(VfioUser), Sockets: []string{"/tmp/a", "/tmp/b"}, Net: Backend{TAP: "tap0", Queues: 4}, NICOpts: "packed=on,",
	}
	argv := d.Argv()
	for _, want := range []string{
		"tap,id=nic,ifname=tap0,script=no,downscript=no,vhost=off,queues=4",
		"virtio-net-pci,netdev=nic,mac=52:54:00:00:00:04,disable-legacy=on,iommu_platform=on,romfile=,addr=4,mq=on,vectors=10,packed=on",
		`{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/a"},"addr":"5"}`,
		`{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/b"},"addr":"6"}`,
	} {
		if !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
	d.VVU, d.Net = BuiltIn, Backend{ForwardPorts: []int{1, 2}}
	argv = d.Argv()
	for _, want := range []string{
		"user,id=nic,ipv6=off,hostfwd=tcp:127.0.0.1:1-10.0.2.15:80,hostfwd=tcp:127.0.0.1:2-10.0.2.16:80",
		"virtio-vhost-user-pci,chardev=vvu1,disable-legacy=on,iommu_platform=on,addr=6",
	} {
		if !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
	if got := VVUAddress(MaxAppVMs-1) + " " + AppMACOf(MaxAppVMs-1); got != "0000:00:0c.0 52:54:00:00:00:11" {
		t.Errorf("the last app VM is %s", got)
	}
}

// TestDriverWithChannels has a file for what the guest writes, a socket, and vsock.
func TestDriverWithChannels(t *testing.T) {
	argv := Driver{Boot: boot(VfioUser), Serial: []SerialPort{{Name: "frames", File: "/tmp/a,b"}, {Name: "control", Socket: "c%d.sock"}}, CID: 3}.Argv()
	for _, want := range []string{
		"virtio-serial-pci,disable-legacy=on,addr=1c", "file,id=port0,path=/tmp/a,,b", "virtserialport,chardev=port0,name=frames",
		"socket,id=port1,path=c%d.sock,server=on,wait=off", "virtserialport,chardev=port1,name=control", "vhost-vsock-pci,guest-cid=3,addr=1b",
	} {
		if !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
}

func TestApp(t *testing.T) {
	argv := App{Boot: boot(VfioUser), RAMFile: "/dev/shm/app,1", Socket: "/tmp/vhost", NetOpts: ",vectors=0"}.Argv()
	for _, want := range []string{
		"memory-backend-file,id=ram,size=256M,share=on,mem-path=/dev/shm/app,,1",
		"q35,memory-backend=ram", "socket,id=vhost,path=/tmp/vhost", "vhost-user,id=net,chardev=vhost",
		"virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:00:0a,vectors=0",
	} {
		if !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
	kvm := boot(VfioUser)
	kvm.Accel = "kvm"
	direct := App{Boot: kvm, Direct: &Backend{ForwardPorts: []int{1}}, Pcap: "x.pcap"}
	argv = direct.Argv()
	for _, want := range []string{"kvm", "host", "q35", "user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:1-10.0.2.15:80", "filter-dump,id=dump,netdev=net,file=x.pcap"} {
		if !slices.Contains(argv, want) {
			t.Errorf("direct: no %q in\n%s", want, lines(argv))
		}
	}
	argv = App{Boot: boot(VfioUser), Socket: "/tmp/vhost", Queues: 4, NetOpts: "packed=on"}.Argv()
	for _, want := range []string{"vhost-user,id=net,chardev=vhost,queues=4", "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:00:0a,mq=on,vectors=10,packed=on"} {
		if !slices.Contains(argv, want) {
			t.Errorf("four queue pairs: no %q in\n%s", want, lines(argv))
		}
	}
	old := App{Boot: boot(Version{7, 2}), Socket: "/tmp/vhost", NetOpts: "packed=on"}
	if want := "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:00:0a,vectors=0,packed=on"; !slices.Contains(old.Argv(), want) {
		t.Errorf("no %q without KVM in\n%s", want, lines(old.Argv()))
	}
	old.Accel = "kvm"
	if strings.Contains(lines(old.Argv()), "vectors") {
		t.Errorf("with KVM it can have MSI-X:\n%s", lines(old.Argv()))
	}
	argv = direct.Argv()
	if strings.Contains(lines(argv), "vhost-user") {
		t.Errorf("direct, but with vhost-user:\n%s", lines(argv))
	}
}

// TestAppBesideOthers is an app VM with a back-end that comes and goes, and with memory that does.
func TestAppBesideOthers(t *testing.T) {
	a := App{
		Boot: boot(VfioUser), Socket: "/tmp/vhost", Reconnect: true, MAC: "52:54:00:00:00:0b", Hotplug: 128, QMP: "/tmp/qmp",
		KernelArgs: []string{"ipv6.disable=1"},
	}
	for _, want := range []string{
		"console=ttyS0 quiet panic=-1 no_timer_check cryptomgr.notests lpj=10000000 ipv6.disable=1", "unix:/tmp/qmp,server=on,wait=off", "256M,slots=64,maxmem=384M",
		"memory-backend-memfd,id=ram,size=256M,share=on", "socket,id=vhost,path=/tmp/vhost,reconnect-ms=1000",
		"virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:00:0b",
	} {
		if argv := a.Argv(); !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
	a.Listen, a.Reconnect = true, false
	for version, want := range map[Version]string{
		{10, 1}: "socket,id=vhost,path=/tmp/vhost,server=on,wait=on", {5, 2}: "socket,id=vhost,path=/tmp/vhost,server,wait",
	} {
		a.QEMU.Version = version
		if argv := a.Argv(); !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
	if got := (Version{9, 1}).reconnecting(); got != "reconnect=1" {
		t.Errorf("version 9.1 reconnects with %q", got)
	}
}

func TestParseVersion(t *testing.T) {
	got, err := ParseVersion("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\nCopyright ...")
	if err != nil || got != (Version{11, 1}) || got.String() != "11.1" {
		t.Errorf("version = %v, %v", got, err)
	}
	if _, err := ParseVersion("busybox\nx"); err == nil || !strings.Contains(err.Error(), "busybox") {
		t.Errorf("another program gives %v", err)
	}
	for _, older := range []Version{{3, 1}, {10, 0}, {9, 9}} {
		if older.AtLeast(VfioUser) {
			t.Errorf("%v counts as having vfio-user-pci", older)
		}
	}
	for _, newer := range []Version{{10, 1}, {10, 2}, {11, 0}} {
		if !newer.AtLeast(VfioUser) {
			t.Errorf("%v counts as too old", newer)
		}
	}
}

// TestDriverWithIntelNIC has the other kinds of NICs, which want no property of virtio's.
func TestDriverWithIntelNIC(t *testing.T) {
	for _, kind := range []NIC{E1000e, IGB} {
		argv := Driver{Boot: boot(VfioUser), Net: Backend{TAP: "tap0", Queues: 4}, NIC: kind, NICOpts: "x=y"}.Argv()
		if want := string(kind) + ",netdev=nic,mac=52:54:00:00:00:04,romfile=,addr=4,x=y"; !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
}

// TestDriverWithCards has NICs of several kinds, or none, and devices of app VMs, at places of one's own.
func TestDriverWithCards(t *testing.T) {
	d := Driver{
		Boot: boot(VfioUser), Sockets: []string{"/tmp/a", "/tmp/b"}, Slots: []int{9, 2}, NIC: E1000e,
		Cards: []Card{{IGB, 6, Backend{TAP: "tap0"}}, {VirtioNet, 0x1e, Backend{TAP: "tap1"}}},
	}
	argv := d.Argv()
	for _, want := range []string{
		"tap,id=nic,ifname=tap0,script=no,downscript=no,vhost=off", "igb,netdev=nic,mac=52:54:00:00:00:04,romfile=,addr=6",
		"tap,id=nic1,ifname=tap1,script=no,downscript=no,vhost=off",
		"virtio-net-pci,netdev=nic1,mac=52:54:00:00:01:04,disable-legacy=on,iommu_platform=on,romfile=,addr=1e",
		`{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/a"},"addr":"9"}`,
		`{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/b"},"addr":"2"}`,
	} {
		if !slices.Contains(argv, want) {
			t.Errorf("no %q in\n%s", want, lines(argv))
		}
	}
	if text := lines(argv); strings.Contains(text, "e1000e") {
		t.Errorf("there is the usual NIC, too:\n%s", text)
	}
	d.Cards = []Card{}
	if text := lines(d.Argv()); strings.Contains(text, "netdev") {
		t.Errorf("there is a NIC:\n%s", text)
	}
}

// TestOccupied finds all that the machine has at an address of its own, where no other device can be.
func TestOccupied(t *testing.T) {
	for name, d := range map[string]Driver{
		"plain": {}, "virtio IOMMU": {IOMMU: Virtio}, "channels": {IOMMU: None, CID: 3, Serial: []SerialPort{{Name: "x", Socket: "y"}}},
	} {
		d.Boot, d.Cards = boot(VfioUser), []Card{}
		text := strings.Join(d.Argv(), " ") + " "
		for slot := 1; slot < LastSlot; slot++ {
			if got, want := d.Occupied(slot) != "", strings.Contains(text, fmt.Sprintf(",addr=%x ", slot)); got != want {
				t.Errorf("%s: slot %x: %q, in the command line: %v", name, slot, d.Occupied(slot), want)
			}
		}
		if d.Occupied(0) == "" || d.Occupied(LastSlot) == "" {
			t.Errorf("%s: the host bridge or the chipset is forgotten", name)
		}
	}
}
