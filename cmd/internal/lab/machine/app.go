package machine

import (
	"fmt"
	"strings"
)

// Hardware addresses of the demo, locally administered.
const (
	NICMAC = "52:54:00:00:00:04" // of the driver VM's NIC
	AppMAC = "52:54:00:00:00:0a" // of the app VM, or of the first of several
)

// AppMACOf is the hardware address of the app VM with the given number, counted from 0.
func AppMACOf(number int) string { return fmt.Sprintf("52:54:00:00:00:%02x", 0x0a+number) }

// App is the app VM: an ordinary guest with a virtio-net device.
type App struct {
	Boot
	// RAMFile is the file that is the VM's RAM, so that the back-end can map it. Empty means anonymous memory, which a back-end can
	// map as well when it gets the descriptor over Socket. Unused when Direct is set.
	RAMFile string
	// Socket is the vhost-user socket it connects to. Unused when Direct is set.
	Socket string
	// Listen makes QEMU wait at Socket for the back-end, at the start and whenever the back-end went away.
	Listen bool
	// Reconnect makes QEMU connect to Socket again when the back-end went away, every second until it is back.
	Reconnect bool
	// MAC is the hardware address of the network device. Empty means AppMAC.
	MAC string
	// Queues is the number of queue pairs of the network device. 0 means one.
	Queues int
	// NetOpts are more properties of the network device: "vectors=0".
	NetOpts string
	// Rings makes the network device one that QEMU knows nothing of, with so many rings: it shows the guest what the back-end offers
	// as it is, and hands all rings to it, the control queue too. MAC and Queues are the back-end's business then. 0 means QEMU's own
	// virtio-net device.
	Rings int
	// Hotplug is how much memory in MiB can be plugged in while the VM runs, in at most hotplugSlots pieces.
	Hotplug int
	// QMP is the socket at which QEMU takes QMP commands. Empty means none.
	QMP string
	// Incoming makes QEMU wait for a guest that migrates here, and leaves it stopped when it has arrived.
	Incoming bool
	// Disk is a file for a block device "disk" that the guest does not see. Empty means none.
	Disk string
	// KernelArgs are more words of the kernel's command line.
	KernelArgs []string
	// Direct, when set, is the back-end of the device in place of vhost-user: the VM without a driver VM, to compare with.
	Direct *Backend
	// Pcap is the file that receives the frames of a Direct back-end.
	Pcap string
}

// hotplugSlots is the number of sockets for memory that is plugged in.
const hotplugSlots = 64

// Argv returns the command line.
func (a App) Argv() []string {
	args := a.argv(a.KernelArgs...)
	if a.QMP != "" {
		args = append(args, "-qmp", "unix:"+quote(a.QMP)+","+a.QEMU.Version.listening())
	}
	if a.Incoming {
		args = append(args, "-incoming", "defer", "-S")
	}
	if a.Disk != "" {
		args = append(args, "-blockdev", "driver=file,node-name=disk-file,filename="+quote(a.Disk))
	}
	if a.Hotplug > 0 {
		args = append(args, "-m", fmt.Sprintf("%dM,slots=%d,maxmem=%dM", a.MemoryMiB, hotplugSlots, a.MemoryMiB+a.Hotplug))
	}
	mac := a.MAC
	if mac == "" {
		mac = AppMAC
	}
	device := "virtio-net-pci,netdev=net,romfile=,mac=" + mac
	if a.Queues > 1 {
		device += multiqueue(a.Queues)
	}
	if a.crashesWithMSIX() {
		device += ",vectors=0"
	}
	if a.NetOpts != "" {
		device += "," + strings.Trim(a.NetOpts, ",")
	}
	if a.Direct != nil {
		args = append(args, "-machine", "q35", "-netdev", a.Direct.netdev("net"))
		if a.Pcap != "" {
			args = append(args, "-object", "filter-dump,id=dump,netdev=net,file="+quote(a.Pcap))
		}
		return append(args, "-device", device)
	}
	args = append(args, "-object", a.ram(), "-machine", "q35,memory-backend=ram", "-chardev", a.chardev())
	if a.Rings > 0 {
		return append(args, "-device", a.generic())
	}
	return append(args, "-netdev", "vhost-user,id=net,chardev=vhost"+queues(a.Queues), "-device", device)
}

// Generic is the first version tested that has a device for any kind of vhost-user back-end.
var Generic = Version{11, 1}

// generic is such a device, as a network device (virtio id 1) whose configuration is read from the back-end.
func (a App) generic() string {
	const configBytes = 64
	device := fmt.Sprintf("vhost-user-test-device-pci,chardev=vhost,virtio-id=1,num_vqs=%d,vq_size=256,config_size=%d", a.Rings, configBytes)
	if a.NetOpts != "" {
		device += "," + strings.Trim(a.NetOpts, ",")
	}
	return device
}

// msixWithoutKVM is the first version tested (Debian has none between it and 7.2) whose emulated guests can have MSI-X with vhost-user.
// Older ones set up an interrupt route in a KVM that is not there, and crash.
var msixWithoutKVM = Version{10, 0}

func (a App) crashesWithMSIX() bool {
	return a.Direct == nil && a.Accel != "kvm" && !a.QEMU.Version.AtLeast(msixWithoutKVM)
}

func (a App) ram() string {
	if a.RAMFile == "" {
		return fmt.Sprintf("memory-backend-memfd,id=ram,size=%dM,share=on", a.MemoryMiB)
	}
	return fmt.Sprintf("memory-backend-file,id=ram,size=%dM,share=on,mem-path=%s", a.MemoryMiB, quote(a.RAMFile))
}

func (a App) chardev() string {
	socket := "socket,id=vhost,path=" + quote(a.Socket)
	switch {
	case a.Listen:
		return socket + "," + a.QEMU.Version.awaiting()
	case a.Reconnect:
		return socket + "," + a.QEMU.Version.reconnecting()
	}
	return socket
}

// queues are the fields of a network back-end with several queue pairs.
func queues(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(",queues=%d", n)
}

// multiqueue are the fields of a virtio-net device with several queue pairs: an interrupt for each queue, one for the control queue
// and one for changes.
func multiqueue(n int) string { return fmt.Sprintf(",mq=on,vectors=%d", 2*n+2) }
