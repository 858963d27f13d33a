package main

import (
	"slices"
	"strings"

	"vvufwd/vfio/pci"
)

// port is a port of vvufwd: as much of what it reads of its arguments itself as image and machine depend on.
type port struct {
	flag     string      // as it was written
	kind     string      // of port: "vvu", "nic", "igb", "tap" …
	function pci.Address // of one on PCI
	iface    string      // the kernel's interface; empty: it is on PCI
}

func (p port) onPCI() bool { return p.iface == "" }

// onPCI reports whether any port is a PCI function: without one there is nothing for an IOMMU to confine.
func (w words) onPCI() bool { return slices.ContainsFunc(w.ports(), port.onPCI) }

// overInterfaces are the kinds of ports that are over the kernel's interfaces, besides "nic", which is for what may be either.
var overInterfaces = []string{"packet", "xdp", "tap", "macvtap"}

// ports are those among the arguments that are on PCI or over an interface, in their order.
func (w words) ports() []port {
	var all []port
	for i, word := range w {
		name, value, hasValue := flagName(word)
		written := word
		if !hasValue && i+1 < len(w) {
			value = w[i+1]
			written += " " + value
		}
		kind := name
		switch name {
		case "vvu", "nic":
		case "port":
			kind, value, _ = strings.Cut(value, ":")
		default:
			continue
		}
		if p, ok := readPort(kind, value); ok {
			p.flag = written
			all = append(all, p)
		}
	}
	return all
}

// readPort reads ADDRESS[,OPTION…] of a port. What is wrong with it vvufwd says.
func readPort(kind, text string) (p port, ok bool) {
	address, _, _ := strings.Cut(text, ",") // options may have colons in them, such as mac=52:54:00:00:00:01
	switch {
	case address == "" || kind == "vhost-user":
		return p, false
	case slices.Contains(overInterfaces, kind), kind == "nic" && !strings.Contains(address, ":"): // as every PCI address has
		return port{kind: kind, iface: address}, true
	}
	function, err := pci.ParseAddress(address)
	return port{kind: kind, function: function}, err == nil
}
