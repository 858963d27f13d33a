package main

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"

	"vvufwd/netfwd"
	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/e1000e"
	"vvufwd/netfwd/nic/igb"
	"vvufwd/netfwd/nic/igbvf"
	"vvufwd/netfwd/nic/virtio"
	"vvufwd/vfio"
	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
)

// nics are the drivers of NICs that are compiled in.
var nics = nic.Registry{virtio.Driver, e1000e.Driver, igb.Driver, igbvf.Driver}

// nicOccupant drives a NIC.
type nicOccupant struct {
	*nic.Watcher
	driver    nic.Driver
	dev       *vfio.Device
	pool      *dma.Pool
	queueSize int
	hard      bool        // all of the function was reset: it can only be waited for
	waits     func() bool // whether for a card that takes long to reset
}

// driverFor is the driver of the NIC that spec names: the one of that name, or for what is
// just a NIC the one that knows its id.
func driverFor(spec portSpec) (nic.Driver, error) {
	if d, ok := nics.Named(spec.kind); ok {
		return d, nil
	}
	info, err := pci.Sysfs{Root: "/sys"}.Device(spec.addr)
	if err != nil {
		return nic.Driver{}, err
	}
	return nics.Choose(info)
}

func openNIC(ctx context.Context, driver nic.Driver, pp *pciPort, o *options) (*port, error) {
	n := &nicOccupant{driver: driver, dev: pp.dev, pool: pp.pool, queueSize: o.queueSize, waits: func() bool { return ctx.Err() == nil }}
	n.Watcher = &nic.Watcher{Log: pp.log}
	slot, link, err := nic.NewSlot(n, o.queues)
	if err != nil {
		return nil, err
	}
	slot.OnWarning(func(err error) { n.Log.Warn("the NIC does not do all that it should", zap.Error(err)) })
	n.Slot, pp.occupant = slot, n
	n.waits = atOnce
	p := &port{End: netfwd.End{Queues: slot.Ports(), Spread: slot.Spread}, nic: slot, link: link, onLink: func(bool) {}}
	n.OnLink = func(up bool) { p.onLink(up) }
	return p, nil
}

// Open is nic.Opener's.
func (n *nicOccupant) Open(pairs int, failed func(why error)) (nic.Card, error) {
	n.pool.Rewind()
	var say sync.Once
	slow := func() bool {
		goOn := n.waits()
		if goOn {
			say.Do(func() { n.Log.Info("the NIC takes its time to reset; waiting for it") })
		}
		return goOn
	}
	card, err := n.driver.Open(n.dev, nic.Config{Memory: n.pool, QueueSize: n.queueSize, MaxPairs: pairs, Failed: failed, Slow: slow})
	if err == nil {
		i := card.Info()
		n.Log.Info("NIC is running", zap.Stringer("mac", i.MAC), zap.Int("mtu", i.MTU), zap.Int("pairs", len(card.Queues())), zap.String("features", i.Details))
	}
	return card, err
}

// Stop is nic.Opener's.
func (n *nicOccupant) Stop(hard bool) error {
	n.hard = hard
	var errs []error
	if hard {
		if err := n.dev.Reset(); !errors.Is(err, errors.ErrUnsupported) { // then the driver's own reset has to do
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, n.dev.DisableBusMaster(), n.dev.DisableMSIX())...)
}

// atOnce is for a device that is back: the next try comes soon, and it may be taken away meanwhile.
func atOnce() bool { return false }

func (n *nicOccupant) run(ctx context.Context) error {
	n.waits = func() bool { return n.hard && ctx.Err() == nil }
	defer func() { n.waits = atOnce }()
	n.Watcher.Run(ctx)
	return nil
}

func (n *nicOccupant) detach() error {
	err := n.Slot.Remove()
	n.OnLink(false)
	return err
}

func (n *nicOccupant) attach(dev *vfio.Device) error {
	n.dev = dev
	up, err := n.Slot.Open()
	if err == nil {
		n.OnLink(up)
	}
	return err
}

// close also ends a card that does not stop in time: it reaches no memory then.
func (n *nicOccupant) close() error {
	err := n.Slot.Close()
	if err == nil || n.dev.DisableBusMaster() != nil {
		return err
	}
	n.Log.Warn("the NIC has not stopped; it was cut off from memory", zap.Error(err))
	return nil
}
