package main

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/logging"
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
	netfwd.End
	control func(ctx context.Context) error // runs until ctx is done or the port is beyond help
	closers []func() error                  // in the order in which they are to run

	guest  guestEnd      // if the port leads to a guest, else nil
	link   bool          // if it leads to a network: whether it was up when opened
	onLink func(up bool) // told of changes
}

// guestEnd is what control can do with a port that leads to a guest.
type guestEnd interface {
	Ports() []*virtionet.Guest
	SetLink(up bool)
	SetAddress(mac [6]byte) error
	Close() error
}

// guestPort is a port that leads to a guest.
func guestPort(spec portSpec, e guestEnd, control func(context.Context) error) (*port, error) {
	p := &port{guest: e, control: control, closers: []func() error{e.Close}}
	for _, g := range e.Ports() {
		p.Queues = append(p.Queues, g)
	}
	if spec.mac != nil {
		if err := e.SetAddress([6]byte(spec.mac)); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return p, nil
}

// follow makes the port's guest tell who forwards of its changes.
func (p *port) follow(f forwarding) {
	if p.guest == nil {
		return
	}
	for _, g := range p.guest.Ports() {
		g.OnChange(f.WakeLoops)
		g.OnShift(f.Shift)
	}
}

// Name identifies the port in logs.
func (p *port) Name() string { return p.Queues[0].Name() }

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
		return openVhostUser(spec, o, logging.ForPeer(log).With(zap.Stringer("port", spec)))
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
	log = logging.ForPeer(log).With(zap.Stringer("port", spec))
	var p *port
	switch spec.kind {
	case "vvu":
		p, err = openVVU(spec, dev, c, o, log)
	case "virtio-net":
		p, err = openVirtioNet(spec, dev, c, o, log)
	}
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	p.closers = append(p.closers, dev.Close)
	p.control = confined(watchGone(spec, o, p.control))
	return p, nil
}

func openVVU(spec portSpec, dev *vfio.Device, c *vfio.Container, o *options, log *zap.Logger) (*port, error) {
	d, err := vvu.Open(spec.addr.String(), dev, c.Arena(), o.queues)
	if err != nil {
		return nil, err
	}
	e, err := vvu.NewEndpoint(d, log)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return guestPort(spec, e, e.Run)
}

func openVhostUser(spec portSpec, o *options, log *zap.Logger) (*port, error) {
	var e *socket.Endpoint
	if spec.client {
		e = socket.Connect(spec.path, o.queues, log)
	} else {
		var err error
		if e, err = socket.Listen(spec.path, o.queues, log); err != nil {
			return nil, &vfio.DeviceError{Device: spec.flag, Problem: err.Error()}
		}
	}
	e.Limit(o.sharing)
	return guestPort(spec, e, confined(e.Run))
}

func openVirtioNet(spec portSpec, dev *vfio.Device, c *vfio.Container, o *options, log *zap.Logger) (*port, error) {
	nic, err := virtionet.OpenNIC(dev, c.Arena(), o.queueSize, o.queues, func(ring string, err error) {
		go log.Error("the NIC has failed", zap.String("ring", ring), zap.Error(err)) // a loop has no time for logs
	})
	if err != nil {
		return nil, err
	}
	link, err := nic.Link()
	if err != nil {
		return nil, errors.Join(err, nic.Close())
	}
	log.Info("NIC is running", zap.Stringer("mac", nic.MAC), zap.Int("mtu", nic.MTU), zap.Int("pairs", len(nic.Queues())), zap.Bool("link", link), zap.Stringer("features", nic.Features))
	p := &port{End: netfwd.End{Spread: nic.Spread}, link: link, onLink: func(bool) {}, closers: []func() error{nic.Close}}
	p.control = func(ctx context.Context) error {
		return nic.Watch(ctx, func(up bool) {
			log.Info("link changed", zap.Bool("up", up))
			p.onLink(up)
		})
	}
	for _, q := range nic.Queues() {
		p.Queues = append(p.Queues, q)
	}
	return p, nil
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
