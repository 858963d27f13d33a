package machine

import (
	"errors"
	"strings"
)

// NICPort is who drives a driver VM's NIC, and how vvufwd gets at it.
type NICPort string

// All kinds. The zero value is VFIO, too. With the others the driver VM's kernel drives the NIC, and vvufwd has a port over
// the interface that it makes: of that kind, or with Interface the one that vvufwd finds best.
const (
	VFIO      NICPort = "vfio"
	Packet    NICPort = "packet"
	XDP       NICPort = "xdp"
	Interface NICPort = "interface"
)

// NICPorts are all kinds.
var NICPorts = []NICPort{VFIO, Packet, XDP, Interface}

// ParseNICPort reads what a person calls it.
func ParseNICPort(name string) (NICPort, error) {
	var names []string
	for _, p := range NICPorts {
		if string(p) == name {
			return p, nil
		}
		names = append(names, string(p))
	}
	return "", errors.New("want " + strings.Join(names, ", "))
}

// OfKernel reports whether the driver VM's kernel drives the NIC.
func (p NICPort) OfKernel() bool { return p != "" && p != VFIO }

// kernelInterface is the name of the only interface in a driver VM, in which no one gives names.
const kernelInterface = "eth0"

// InitArgs are vvufwd's arguments for a NIC.
func (p NICPort) InitArgs(n NIC) []string {
	switch {
	case !p.OfKernel():
		return []string{"--nic", n.Address()}
	case p == Interface:
		return []string{"--modules", strings.Join(p.Modules(n), ","), "--nic", kernelInterface}
	}
	return []string{"--modules", strings.Join(p.Modules(n), ","), "--port", string(p) + ":" + kernelInterface}
}

// Modules are those of the kernel's driver of a NIC, if that is wanted.
func (p NICPort) Modules(n NIC) []string {
	switch {
	case !p.OfKernel():
		return nil
	case n.virtio():
		return []string{"virtio_pci", "virtio_net"}
	}
	return []string{string(n)}
}
