package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/logging"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/nic"
	"vvufwd/vfio"
	"vvufwd/vfio/dma"
	"vvufwd/virtio/net/guest"
	"vvufwd/vvu"
	"vvufwd/vvu/socket"
)

// port is an open port with the goroutine that looks after it.
type port struct {
	netfwd.End
	control func(ctx context.Context) error // runs until ctx is done or the port is beyond help
	closers []func() error                  // in the order in which they are to run

	pci    *pciPort       // if it is on PCI, else nil
	nic    *nic.Slot      // if it is a NIC, else nil
	netdev *netdev.Device // if it is an interface of the kernel, else nil
	guest  guestEnd       // if the port leads to a guest, else nil
	link   bool           // if it leads to a network: whether it was up when opened
	onLink func(up bool)  // told of changes
}

// guestEnd is what control can do with a port that leads to a guest.
type guestEnd interface {
	Ports() []*guest.Port
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

// follow makes the port tell who forwards of its changes.
func (p *port) follow(f forwarding) {
	if p.nic != nil {
		p.nic.OnChange(f.WakeLoops)
	}
	if p.netdev != nil {
		p.netdev.Follow(f.WakeLoops, func(up bool) { p.onLink(up) })
	}
	if p.guest == nil {
		return
	}
	for _, g := range p.guest.Ports() {
		g.OnChange(f.WakeLoops)
		g.OnStateChange(f.StateChanged)
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
func openPort(ctx context.Context, spec portSpec, c *vfio.Container, o *options, log *zap.Logger) (*port, error) {
	if spec.onInterface() {
		return openInterface(spec, o, log.With(zap.Stringer("port", spec)))
	}
	if !spec.onPCI() {
		return openVhostUser(spec, o, logging.ForPeer(log).With(zap.Stringer("port", spec)))
	}
	var driver nic.Driver
	if spec.uplink() {
		var err error
		if driver, err = driverFor(spec); err != nil {
			return nil, err
		}
	}
	dev, err := c.Open(spec.addr)
	if err != nil {
		return nil, err
	}
	log.Info("a function is open", zap.Stringer("port", spec), zap.Stringer("vfio", dev.Mode()))
	log = logging.ForPeer(log).With(zap.Stringer("port", spec))
	pp := &pciPort{spec: spec, dev: dev, mode: dev.Mode(), container: c, pool: dma.NewPool(dev.Arena()), log: log, owned: o.owned}
	var p *port
	if spec.kind == "vvu" {
		p, err = openVVU(spec, pp, o)
	} else {
		p, err = openNIC(ctx, driver, pp, o)
	}
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	p.pci = pp
	p.closers = []func() error{pp.close}
	p.control = confined(pp.control)
	return p, nil
}

func openVVU(spec portSpec, pp *pciPort, o *options) (*port, error) {
	d, err := vvu.Open(spec.addr.String(), pp.dev, pp.pool, o.queues)
	if err != nil {
		return nil, err
	}
	d.MapMemory(o.devmem, pp.log)
	e, err := vvu.NewEndpoint(d, pp.log)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	pp.occupant = &vvuOccupant{Endpoint: e, name: spec.addr.String(), pool: pp.pool, log: pp.log}
	return guestPort(spec, e, nil)
}

func openVhostUser(spec portSpec, o *options, log *zap.Logger) (*port, error) {
	var e *socket.Endpoint
	if spec.client {
		e = socket.Connect(spec.path, o.queues, log)
	} else {
		e = socket.Listen(o.listeners.take(spec.path), o.queues, log)
	}
	e.Limit(o.sharing)
	return guestPort(spec, e, confined(e.Run))
}
