// Package virtio makes the driver of virtio-net devices one of the NIC drivers.
package virtio

import (
	"context"
	"errors"
	"fmt"

	"vvufwd/netfwd/nic"
	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	virtionic "vvufwd/virtio/net/nic"
)

// Driver drives virtio-net devices: modern ones, and transitional ones in their modern way.
var Driver = nic.Driver{
	Name: "virtio-net",
	Chips: []nic.Chip{
		{Vendor: virtio.PCIVendor, Device: virtio.ModernIDBase + virtio.DeviceNet, Name: "virtio 1.x", Seen: true},
		{Vendor: virtio.PCIVendor, Device: 0x1000, Name: "transitional", Seen: true},
	},
	Open: open,
}

// card is an open virtio-net device.
type card struct{ nic *virtionic.Device }

func open(f nic.Function, cfg nic.Config) (nic.Card, error) {
	n, err := virtionic.Open(f, virtionic.Config{
		Memory: cfg.Memory, QueueSize: cfg.QueueSize, MaxPairs: cfg.MaxPairs,
		OnFail: func(ring string, err error) { cfg.Failed(&ringError{ring, err}) },
		Slow:   func() bool { return cfg.Slow != nil && cfg.Slow() },
	})
	if err != nil {
		return nil, err
	}
	return card{n}, nil
}

// ringError says that a ring of a device has failed. Making it must not take long.
type ringError struct {
	ring string
	err  error
}

func (e *ringError) Error() string { return e.ring + " ring: " + e.err.Error() }
func (e *ringError) Unwrap() error { return e.err }

func (c card) Info() nic.Info {
	details := c.nic.Features.String()
	if err := c.nic.Filters; err != nil {
		details += fmt.Sprintf("; it may drop frames for addresses other than its own: PROMISC: %v", err)
	}
	return nic.Info{
		Name: c.nic.Name(), MAC: c.nic.MAC, MTU: c.nic.MTU,
		Sends: virtionet.OffloadsToDriver(c.nic.Features), Takes: virtionet.OffloadsToDevice(c.nic.Features),
		Details: details,
	}
}

func (c card) Queues() []nic.Queue {
	var queues []nic.Queue
	for _, q := range c.nic.Queues() {
		queues = append(queues, q)
	}
	return queues
}

func (c card) Link() (up bool, err error)  { return c.nic.Link() }
func (c card) Statistics() []nic.Statistic { return nil } // virtio has none
func (c card) Close() error                { return c.nic.Close() }

// Spread is nic.Card's.
func (c card) Spread(pairs int) error {
	err := c.nic.Spread(pairs)
	if errors.Is(err, virtionic.ErrRefused) {
		err = fmt.Errorf("%w: %w", nic.ErrRefused, err)
	}
	return err
}

func (c card) Watch(ctx context.Context, changed func(up bool)) error {
	return c.nic.Watch(ctx, changed)
}
