package l2nat

import (
	"errors"
	"time"

	"vvufwd/netfwd/netdev"
)

// device is a netdev.Interface of a card, with stations behind it.
type device struct {
	netdev.Wired
	wire *wire
}

// Wrap puts stations behind an interface, which is its own from then on, also if it fails. It has one
// queue pair. An address belongs to a station until it has not sent from there for age.
func Wrap(i netdev.Interface, age time.Duration) (netdev.Interface, error) {
	return wrap(i, defaultLimits, age, time.Now)
}

func wrap(i netdev.Interface, l limits, age time.Duration, now func() time.Time) (netdev.Interface, error) {
	wired, ok := i.(netdev.Wired)
	if !ok || len(wired.Wires()) != 1 {
		return nil, errors.Join(errors.New("l2nat is for an interface with one queue"), i.Close())
	}
	return &device{wired, &wire{Wire: wired.Wires()[0], t: newTranslator(l, age), now: now}}, nil
}

// Queues is netdev.Interface's.
func (d *device) Queues(name string, c *netdev.Condition) ([]netdev.Queue, error) {
	return netdev.OverWires(name, c, d)
}

// Wires is netdev.Wired's.
func (d *device) Wires() []netdev.Wire { return []netdev.Wire{d.wire} }

// Look is netdev.Interface's. The card's address may change: when it is set anew, or for each network.
func (d *device) Look() (netdev.State, error) {
	s, err := d.Wired.Look()
	if err == nil {
		d.wire.card.Store(uint64(macAt(s.Address[:])))
	}
	return s, err
}

// Translation is netdev.Translator's.
func (d *device) Translation() any { return d.wire.counted.stats() }
