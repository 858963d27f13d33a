package main

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"vvufwd/netfwd"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/vvu"
	"vvufwd/vvu/socket"
)

// port is an open port with the goroutine that looks after it.
type port struct {
	netfwd.Port
	control  func(ctx context.Context) error // runs until ctx is done or the port is beyond help
	onChange func(wake func())               // who to wake when control wants a change
	closers  []func() error                  // in the order in which they are to run
}

func (p *port) close() error {
	var errs []error
	for _, f := range p.closers {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// openPort opens the port that spec names with the driver for its kind. Without
// ports on PCI there is no container.
func openPort(spec portSpec, c *vfio.Container, o *options, log *zap.Logger) (*port, error) {
	if !spec.onPCI() {
		return openVhostUser(spec, log.With(zap.Stringer("port", spec)))
	}
	dev, err := c.Open(spec.addr)
	if err != nil {
		return nil, err
	}
	if spec.kind == "nic" {
		if err := knownNIC(dev); err != nil {
			return nil, errors.Join(err, dev.Close())
		}
		spec.kind = "virtio-net"
	}
	log = log.With(zap.Stringer("port", spec))
	var p *port
	switch spec.kind {
	case "vvu":
		p, err = openVVU(spec, dev, c, log)
	case "virtio-net":
		p, err = openVirtioNet(spec, dev, c, o, log)
	}
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	p.closers = append(p.closers, dev.Close)
	p.control = confined(p.control)
	return p, nil
}

func openVVU(spec portSpec, dev *vfio.Device, c *vfio.Container, log *zap.Logger) (*port, error) {
	d, err := vvu.Open(spec.addr.String(), dev, c.Arena(), 1)
	if err != nil {
		return nil, err
	}
	e, err := vvu.NewEndpoint(d, log)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &port{
		Port:     e.Ports()[0],
		onChange: e.Ports()[0].OnChange,
		control:  func(ctx context.Context) error { e.Run(ctx); return nil },
		closers:  []func() error{e.Close},
	}, nil
}

func openVhostUser(spec portSpec, log *zap.Logger) (*port, error) {
	var e *socket.Endpoint
	if spec.client {
		e = socket.Connect(spec.path, 1, log)
	} else {
		var err error
		if e, err = socket.Listen(spec.path, 1, log); err != nil {
			return nil, &vfio.DeviceError{Device: spec.flag, Problem: err.Error()}
		}
	}
	return &port{Port: e.Ports()[0], onChange: e.Ports()[0].OnChange, control: confined(e.Run), closers: []func() error{e.Close}}, nil
}

func openVirtioNet(spec portSpec, dev *vfio.Device, c *vfio.Container, o *options, log *zap.Logger) (*port, error) {
	nic, err := virtionet.OpenNIC(dev, c.Arena(), o.queueSize, func(ring string, err error) {
		log.Error("the NIC is out of order", zap.String("ring", ring), zap.Error(err))
	})
	if err != nil {
		return nil, err
	}
	link, err := nic.Link()
	if err != nil {
		return nil, errors.Join(err, nic.Close())
	}
	log.Info("NIC is running", zap.Stringer("mac", nic.MAC), zap.Int("mtu", nic.MTU), zap.Bool("link", link), zap.Stringer("features", nic.Features))
	return &port{
		Port:     nic,
		onChange: func(func()) {}, // its rings never change
		control: func(ctx context.Context) error {
			return nic.Watch(ctx, func(up bool) { log.Info("link changed", zap.Bool("up", up)) })
		},
		closers: []func() error{nic.Close},
	}, nil
}

// knownNIC checks that there is a driver for a NIC.
func knownNIC(dev *vfio.Device) error {
	info, err := pci.Sysfs{Root: "/sys"}.Device(dev.Address())
	if err != nil {
		return err
	}
	if info.Vendor == virtio.PCIVendor {
		return nil // what kind of virtio device it is, its own driver finds out
	}
	return &vfio.DeviceError{
		Device:  dev.Address().String(),
		Problem: fmt.Sprintf("no driver for NIC %04x:%04x", info.Vendor, info.Device),
		Remedy:  "use a virtio-net device (1af4:1041, 1af4:1000)",
	}
}
