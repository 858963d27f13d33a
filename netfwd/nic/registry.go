package nic

import (
	"fmt"
	"strings"

	"vvufwd/vfio/pci"
)

// Registry is the drivers that there are.
type Registry []Driver

// Names are the drivers' names.
func (r Registry) Names() []string {
	names := make([]string, len(r))
	for i, d := range r {
		names[i] = d.Name
	}
	return names
}

// Named returns the driver of a name.
func (r Registry) Named(name string) (d Driver, ok bool) {
	for _, d := range r {
		if d.Name == name {
			return d, true
		}
	}
	return Driver{}, false
}

// Choose returns the driver for a function by its id.
func (r Registry) Choose(info pci.Info) (Driver, error) {
	for _, d := range r {
		for _, c := range d.Chips {
			if c.Vendor == info.Vendor && c.Device == info.Device {
				return d, nil
			}
		}
	}
	return Driver{}, &pci.DeviceError{
		Device:  info.Address.String(),
		Problem: fmt.Sprintf("no driver for NIC %04x:%04x", info.Vendor, info.Device),
		Remedy:  fmt.Sprintf("use a NIC that is known (%s), or leave this one to its kernel driver: see Limits in the README", r.known()),
	}
}

// known lists all ids: "virtio-net 1af4:1041 1af4:1000, e1000e 8086:10d3".
func (r Registry) known() string {
	var list []string
	for _, d := range r {
		item := d.Name
		for _, c := range d.Chips {
			item += fmt.Sprintf(" %04x:%04x", c.Vendor, c.Device)
		}
		list = append(list, item)
	}
	return strings.Join(list, ", ")
}
