package shadow

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/net/driver"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// pair is one queue pair of a session.
type pair struct {
	port  *driver.Port
	bells [2]bells // of the ring to us, and of the one from us
}

// bells are a ring's eventfds.
type bells struct {
	kick bell // by which we tell the driver VM
	call bell // by which it tells us
}

// bell is an eventfd of ours, or negative.
type bell int

// Notify rings it. The counter of one that no one listens to does not overflow before a full one
// is as good as any.
func (b bell) Notify() {
	one := [8]byte{1}
	unix.Write(int(b), one[:])
}

func (b bell) close() error {
	if b < 0 {
		return nil
	}
	return unix.Close(int(b))
}

func newPair(c *session, i int, features virtio.Features) (p *pair, err error) {
	s := c.shadow
	p = &pair{bells: [2]bells{{-1, -1}, {-1, -1}}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("queue pair %d: %w", i, err), p.close())
		}
	}()
	for k := range p.bells {
		for _, b := range []*bell{&p.bells[k].kick, &p.bells[k].call} {
			fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
			if err != nil {
				return p, fmt.Errorf("create eventfd: %w", err)
			}
			*b = bell(fd)
		}
	}
	name := s.ports[i].name
	p.port, err = driver.New(driver.Config{
		Name: name, Features: features, MTU: int(c.mtu), RxSize: entries, TxSize: entries, Jumbo: true,
		OnFail:  func(ring string, err error) { c.fail(&ringError{name, ring, err}) },
		WakeFDs: []int{int(p.bells[0].call), int(p.bells[1].call)},
	}, s.cfg.Memory)
	return p, err
}

// rings are what the back-end is to know of the two rings.
func (p *pair) rings() (rings []vhostuser.FrontendRing) {
	rx, tx := p.port.Rings()
	for k, ring := range []*vring.Driver{rx, tx} {
		desc, avail, used := ring.Addresses()
		const user = userBase - base
		rings = append(rings, vhostuser.FrontendRing{
			Num: uint32(ring.Size()), Desc: desc + user, Avail: avail + user, Used: used + user,
			Kick: int(p.bells[k].kick), Call: int(p.bells[k].call),
		})
	}
	return rings
}

// close gives the eventfds back. No one forwards any more.
func (p *pair) close() error {
	var errs []error
	for _, b := range p.bells {
		errs = append(errs, b.kick.close(), b.call.close())
	}
	return errors.Join(errs...)
}
