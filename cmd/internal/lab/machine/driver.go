package machine

import (
	"encoding/json"
	"fmt"
)

// The driver VM's functions stand at fixed places of the root bus, unless Cards and Slots say otherwise.
const (
	NICAddress = "0000:00:04.0"

	nicSlot    = 4
	vsockSlot  = 0x1b
	serialSlot = 0x1c
	vvuSlot    = 5 // of the first app VM's device; those of others follow
)

// SerialPort is a virtio-serial port of the driver VM.
type SerialPort struct {
	Name string
	// File receives what the guest writes. Empty: Socket is where QEMU lets one client at a time read and write.
	File, Socket string
}

// MaxAppVMs is how many app VMs a driver VM has places for.
const MaxAppVMs = 8

// VVUAddress is the driver VM's function for the app VM with the given number, counted from 0.
func VVUAddress(number int) string { return fmt.Sprintf("0000:00:%02x.0", vvuSlot+number) }

// VVU says who provides the virtio-vhost-user device.
type VVU int

const (
	// VfioUserServer is vvudev: QEMU plugs in a device that another process serves on a vfio-user socket.
	VfioUserServer VVU = iota
	// BuiltIn is a QEMU that has virtio-vhost-user-pci itself. It listens on the vhost-user socket.
	BuiltIn
)

// Driver is the driver VM, whose /init is vvufwd.
type Driver struct {
	Boot
	VVU   VVU
	IOMMU IOMMU
	// Sockets are, for each app VM, the vfio-user socket of vvudev, or the vhost-user socket that a built-in device listens on.
	Sockets []string
	// Net is the back-end of the NIC.
	Net Backend
	// NIC is what kind of NIC it is.
	NIC NIC
	// Cards are its NICs, if they are others than the one of NIC and Net at NICAddress. Not nil, but empty: it has none.
	Cards []Card
	// Slots are, for each of Sockets, where its device is on the root bus, if that is not where VVUAddress says.
	Slots []int
	// NICOpts are more properties of its NICs: "packed=on".
	NICOpts string
	// Pcap, when not empty, is the file that receives every frame that passes the NIC.
	Pcap string
	// Serial are its virtio-serial ports.
	Serial []SerialPort
	// CID, when not 0, is the address of the guest in vsock.
	CID uint32
	// InitArgs are vvufwd's arguments.
	InitArgs []string
}

// Argv returns the command line.
func (d Driver) Argv() []string {
	args := d.argv(d.kernelArgs()...)
	if d.VVU == BuiltIn {
		// The fork's base is too old for "-machine memory-backend".
		args = append(args, "-machine", "q35,kernel-irqchip=split")
	} else {
		// Shared RAM: the device's server reads the virtqueues in it.
		args = append(args,
			"-object", fmt.Sprintf("memory-backend-memfd,id=ram,size=%dM,share=on", d.MemoryMiB),
			"-machine", "q35,kernel-irqchip=split,memory-backend=ram")
	}
	if iommu := d.IOMMU.device(d.VVU); iommu != "" {
		args = append(args, "-device", iommu)
	}
	for i, card := range d.cards() {
		args = append(args, d.cardArgs(i, card)...)
	}
	args = append(args, d.channels()...)
	if d.Pcap != "" {
		args = append(args, "-object", "filter-dump,id=dump,netdev=nic,file="+quote(d.Pcap))
	}
	for i, socket := range d.Sockets {
		slot := fmt.Sprintf("%x", d.slotOf(i))
		if d.VVU == VfioUserServer {
			args = append(args, "-device", vfioUserDevice(socket, slot))
			continue
		}
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=vvu%d,path=%s,%s", i, quote(socket), d.QEMU.Version.listening()),
			"-device", fmt.Sprintf("virtio-vhost-user-pci,chardev=vvu%d,disable-legacy=on%s,addr=%s", i, d.IOMMU.virtio(), slot))
	}
	return args
}

// slotOf is the place of the device for the app VM with the given number, counted from 0.
func (d Driver) slotOf(number int) int {
	if d.Slots != nil {
		return d.Slots[number]
	}
	return vvuSlot + number
}

// channels are devices by which the guest talks with programs of the host.
func (d Driver) channels() []string {
	var args []string
	if len(d.Serial) > 0 {
		args = append(args, "-device", fmt.Sprintf("virtio-serial-pci,disable-legacy=on,addr=%x", serialSlot))
	}
	for i, port := range d.Serial {
		id := fmt.Sprintf("port%d", i) // serial0 is that of -serial
		end := "socket,id=" + id + ",path=" + quote(port.Socket) + "," + d.QEMU.Version.listening()
		if port.File != "" {
			end = "file,id=" + id + ",path=" + quote(port.File)
		}
		args = append(args, "-chardev", end, "-device", "virtserialport,chardev="+id+",name="+quote(port.Name))
	}
	if d.CID != 0 {
		args = append(args, "-device", fmt.Sprintf("vhost-vsock-pci,guest-cid=%d,addr=%x", d.CID, vsockSlot))
	}
	return args
}

// CommandLine is the kernel's.
func (d Driver) CommandLine() string { return d.Boot.CommandLine(d.kernelArgs()...) }

func (d Driver) kernelArgs() []string {
	return append(append(d.IOMMU.kernelArgs(), "--"), d.InitArgs...)
}

// vfioUserDevice is the JSON form of -device: the socket is a structure, which the older form cannot express.
func vfioUserDevice(socket, slot string) string {
	type address struct {
		Type string `json:"type"`
		Path string `json:"path"`
	}
	text, _ := json.Marshal(struct { // a structure of strings always encodes
		Driver string  `json:"driver"`
		Socket address `json:"socket"`
		Addr   string  `json:"addr"`
	}{"vfio-user-pci", address{"unix", socket}, slot})
	return string(text)
}
