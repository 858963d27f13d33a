package machine

import (
	"fmt"
	"slices"
)

// NIC is a kind of NIC that a driver VM can have.
type NIC string

// Kinds of NICs. The zero value is VirtioNet, too.
const (
	VirtioNet NIC = "virtio-net"
	E1000e    NIC = "e1000e" // Intel 82574L
	IGB       NIC = "igb"    // Intel 82576
	IGBVF     NIC = "igbvf"  // a virtual function of that; the physical one is the kernel's
)

// NICs are all kinds.
var NICs = []NIC{VirtioNet, E1000e, IGB, IGBVF}

// Known reports whether it is one of NICs.
func (n NIC) Known() bool { return slices.Contains(NICs, n) }

// Hardware reports whether its kernel driver is in kernels for hardware only.
func (n NIC) Hardware() bool { return !n.virtio() }

func (n NIC) virtio() bool { return n == "" || n == VirtioNet }

// device is QEMU's name of it, with what properties it needs.
func (n NIC) device(netdev, mac string, iommu IOMMU) string {
	place := fmt.Sprintf("netdev=%s,mac=%s", netdev, mac)
	if n.virtio() {
		return "virtio-net-pci," + place + ",disable-legacy=on" + iommu.virtio()
	}
	if n == IGBVF {
		n = IGB
	}
	return string(n) + "," + place
}

// VFSlots is how many slots a virtual function of the 82576 comes after its physical one: 128 functions.
const VFSlots = 128 / 8

// Address is where vvufwd finds it.
func (n NIC) Address() string {
	if n == IGBVF {
		return fmt.Sprintf("0000:00:%02x.0", nicSlot+VFSlots)
	}
	return NICAddress
}
