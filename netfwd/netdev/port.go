package netdev

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// Port is a Queue over a Wire.
type Port struct {
	name      string
	wire      Wire
	condition *Condition
	counters  virtionet.Counters

	leaves, takes virtionet.Offloads // see Wired

	rx           slots
	next, filled int // slots [next, filled) are frames that were read and not released

	tx   slots
	soft virtionet.SoftwareGSO

	wake Waker
}

// newPort makes a queue pair.
func newPort(name string, w Wire, c *Condition, leaves, takes virtionet.Offloads) (p *Port, err error) {
	p = &Port{name: name, wire: w, condition: c, leaves: leaves, takes: takes}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", name, err), p.Close())
		}
	}()
	if p.wake, err = NewWaker(); err != nil {
		return p, err
	}
	return p, errors.Join(p.rx.open(), p.tx.open())
}

// Close frees its buffers. The wire is the interface's.
func (p *Port) Close() error {
	return errors.Join(p.wake.Close(), p.rx.close(), p.tx.close())
}

// Name identifies the port in logs and counters. Safe for concurrent use.
func (p *Port) Name() string { return p.name }

// Counters are the port's counters.
func (p *Port) Counters() *virtionet.Counters { return &p.counters }

// Notify has nothing to tell: the kernel knows of a frame since it was written.
func (p *Port) Notify() {}

// Recover finds everything in order: frames that were not released come again, and what was not
// written was not sent.
func (p *Port) Recover() {}

// EnableKicks makes the descriptor of WakeFDs readable while there are frames and, if forRoom is
// set, while there is room: so no look is needed to find what is there already.
func (p *Port) EnableKicks(forRoom bool) (frames, room bool) {
	held := p.next < p.filled
	events := uint32(0)
	if !held { // else a wire whose frames stay where they are is readable for ever
		events = unix.EPOLLIN
	}
	if forRoom {
		events |= unix.EPOLLOUT
	}
	if events == 0 {
		p.wake.Rest()
	} else if !p.wake.Watch(p.wire.FD(), p.wire.FurtherFD(), events) {
		return held, true // poll
	}
	return held, forRoom && p.condition.Down() // what waits is dropped then
}

// DisableKicks has the kernel wake no one.
func (p *Port) DisableKicks() { p.wake.Rest() }

// WakeFDs is an epoll instance, which no one has to empty, see netfwd.Sleeper. There is none
// while the interface does not work: its descriptor may be readable for ever then.
func (p *Port) WakeFDs() []int {
	if p.condition.Down() {
		return nil
	}
	return p.wake.FDs()
}
