package tap

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// A macvtap interface has the frames for its own address only, so it takes that of the guest behind
// it: the first one that sends, and another one when that has been silent for a while. The kernel
// lets whoever has a queue set the address, without a capability.

// silent is how long.
const silent = 2 * time.Second

// follower is what is known of who sends. The loops call sends, control the rest. Addresses are the
// low 48 bits of words.
type follower struct {
	address atomic.Uint64 // the interface's
	other   atomic.Uint64 // of someone else who has sent, 0: no one
	seen    atomic.Bool   // its own has sent
	prompts chan struct{}

	last time.Time // when its own was last seen to have sent
}

const group = 1 << 40 // of an address: it is no station's

// sends notes who sends a frame. It is called for the first one of those that are written at once.
func (f *follower) sends(source uint64) {
	switch {
	case source == f.address.Load():
		if !f.seen.Load() {
			f.seen.Store(true)
		}
	case source&group == 0 && source != 0 && source != f.other.Load():
		f.other.Store(source)
		select {
		case f.prompts <- struct{}{}:
		default:
		}
	}
}

// look gives the interface of a queue another address if that is due.
func (f *follower) look(queue int, now time.Time) {
	if f.seen.Swap(false) {
		f.last = now
	}
	other := f.other.Load()
	if other == 0 || now.Sub(f.last) < silent {
		return
	}
	f.other.Store(0) // whoever it was tells again, should the kernel refuse
	r := netdev.Named("")
	r.SetHardwareAddress(unix.ARPHRD_ETHER, bytesOf(other))
	if r.Ask(queue, unix.SIOCSIFHWADDR) == nil {
		f.address.Store(other)
		f.last = now
	}
}

func bytesOf(a uint64) [6]byte {
	return [6]byte{byte(a >> 40), byte(a >> 32), byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}
}

func wordOf(a [6]byte) (w uint64) {
	for _, b := range a {
		w = w<<8 | uint64(b)
	}
	return w
}

// follow makes the interface follow its guest.
func (d *device) follow() error {
	r := netdev.Named(d.name)
	if err := r.Ask(d.socket, unix.SIOCGIFHWADDR); err != nil {
		return fmt.Errorf("interface %s: find out its address: %w", d.name, err)
	}
	d.follows = &follower{prompts: make(chan struct{}, 1)}
	d.follows.address.Store(wordOf(r.HardwareAddress()))
	for _, w := range d.wires {
		w.(*wire).follows = d.follows
	}
	return nil
}
