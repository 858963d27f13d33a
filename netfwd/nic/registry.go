package nic

import (
	"errors"
	"fmt"
	"strings"

	"vvufwd/vfio/pci"
	"vvufwd/virtio"
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

// ErrNoDriver says that a function is no NIC that a driver here knows.
var ErrNoDriver = errors.New("no driver for this function")

// Choose returns the driver for a function by its id. The error wraps ErrNoDriver, and names the
// interface to use instead if the kernel's driver has made one.
func (r Registry) Choose(info pci.Info) (Driver, error) {
	for _, d := range r {
		for _, c := range d.Chips {
			if c.Vendor == info.Vendor && c.Device == info.Device {
				return d, nil
			}
		}
	}
	problem := fmt.Sprintf("there is no driver for NIC %04x:%04x but the kernel's", info.Vendor, info.Device)
	remedy := fmt.Sprintf("%s (without the kernel's: %s)", instead(info), r.known())
	if info.Vendor == virtio.PCIVendor && info.Device == virtio.ModernIDBase+virtio.DeviceVhostUser {
		problem = fmt.Sprintf("is no NIC but, by its id %04x:%04x, a virtio-vhost-user device", info.Vendor, info.Device)
		remedy = "name it with --vvu, and the NIC with --nic: see lspci -nn"
	}
	return Driver{}, &pci.DeviceError{Device: info.Address.String(), Problem: problem, Remedy: remedy, Err: noDriverError(problem)}
}

// noDriverError is ErrNoDriver with a text of its own.
type noDriverError string

func (e noDriverError) Error() string        { return string(e) }
func (e noDriverError) Is(target error) bool { return target == ErrNoDriver }

// instead is what to do with a function that only the kernel has a driver for.
func instead(info pci.Info) string {
	switch {
	case len(info.Interfaces) == 1:
		return fmt.Sprintf("use the interface that the kernel's %s makes of it, --nic %s", info.Driver, info.Interfaces[0])
	case len(info.Interfaces) > 1:
		return fmt.Sprintf("use one of the interfaces that the kernel's %s makes of it, %s, such as --nic %s", info.Driver, strings.Join(info.Interfaces, ", "), info.Interfaces[0])
	case info.BoundToVFIO():
		return fmt.Sprintf("take it from %s, give it to its kernel driver (driver_override, unbind, drivers_probe), and use the interface that this makes of it, --nic INTERFACE", info.Driver)
	case info.Driver != "":
		return fmt.Sprintf("its kernel driver is %s, which has made no interface of it in this network namespace; use another function", info.Driver)
	}
	return "load its kernel driver (as /init: --modules NAME) and use the interface that this makes of it, --nic INTERFACE"
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
