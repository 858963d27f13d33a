package main

import (
	"context"
	"errors"

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
	driver    nic.Driver
	pool      *dma.Pool
	queueSize int
	log       *zap.Logger
	onLink    func(up bool)
	slot      *nic.Slot
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

func openNIC(driver nic.Driver, pp *pciPort, o *options) (*port, error) {
	n := &nicOccupant{driver: driver, pool: pp.pool, queueSize: o.queueSize, log: pp.log}
	card, err := n.open(pp.dev, o.queues)
	if err != nil {
		return nil, err
	}
	link, err := card.Link()
	if err == nil {
		n.slot, err = nic.NewSlot(card)
	}
	if err != nil {
		return nil, errors.Join(err, card.Close())
	}
	pp.occupant = n
	p := &port{End: netfwd.End{Queues: n.slot.Ports(), Spread: n.slot.Spread}, nic: n.slot, link: link, onLink: func(bool) {}}
	n.onLink = func(up bool) { p.onLink(up) }
	return p, nil
}

// open opens the NIC.
func (n *nicOccupant) open(dev *vfio.Device, pairs int) (nic.Card, error) {
	card, err := n.driver.Open(dev, nic.Config{Memory: n.pool, QueueSize: n.queueSize, MaxPairs: pairs, Failed: func(why error) {
		go n.log.Error("the NIC has failed", zap.Error(why)) // a loop has no time for logs
	}})
	if err == nil {
		i := card.Info()
		n.log.Info("NIC is running", zap.Stringer("mac", i.MAC), zap.Int("mtu", i.MTU), zap.Int("pairs", len(card.Queues())), zap.String("features", i.Details))
	}
	return card, err
}

func (n *nicOccupant) run(ctx context.Context) error {
	return n.slot.Card().Watch(ctx, func(up bool) {
		n.log.Info("link changed", zap.Bool("up", up))
		n.slot.SetLink(up)
		n.onLink(up)
	})
}

func (n *nicOccupant) detach() error {
	err := n.slot.Remove()
	n.onLink(false)
	return err
}

func (n *nicOccupant) attach(dev *vfio.Device) error {
	card, err := n.open(dev, len(n.slot.Ports()))
	if err != nil {
		return err
	}
	up, err := n.slot.Insert(card)
	n.onLink(up)
	return err
}

func (n *nicOccupant) close() error { return n.slot.Close() }
