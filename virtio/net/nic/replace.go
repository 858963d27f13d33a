package virtionic

import (
	"vvufwd/vfio/dma"
	"vvufwd/virtio"
	"vvufwd/virtio/vring"
)

// A machine can take a NIC away and give it back, or another one at the same place. The
// queue pairs that forwarders know stay the same all the while: what is replaced is all that
// they have of the device. Without one they have rings on which nothing ever happens, and no
// link.

// OnChange sets the function that wakes the forwarder; call it before forwarding begins.
func (n *Port) OnChange(wake func()) { n.wake = wake }

// replace gives the queue pair the rings of another, which nobody forwards for, and its
// link; nil: of none. It returns when the forwarder uses them: from then on it touches
// nothing of what it had. Control calls it.
func (n *Port) replace(with *Port) {
	if with == nil {
		with = noDevice()
	}
	if with.linkDown.Load() {
		n.linkDown.Store(true)
	}
	n.wanted.Store(&with.rings)
	n.wake()
	select {
	case <-n.synced:
	case <-n.gone:
	}
	n.linkDown.Store(with.linkDown.Load())
}

// noDevice is a queue pair without a device.
func noDevice() *Port {
	cfg := config{Features: virtio.Version1, RxSize: 2, TxSize: 2, OnFail: func(string, error) {}}
	n, err := newPort(cfg, idleMemory{})
	if err != nil {
		panic(err) // two rings of two entries fit anywhere
	}
	n.rxNotify, n.txNotify = nobody{}, nobody{}
	n.linkDown.Store(true)
	return n
}

// idleMemory is memory that no device reaches.
type idleMemory struct{}

func (idleMemory) Alloc(size, _ int) (dma.Memory, error) {
	return dma.Memory{Bytes: vring.Memory(size)}, nil
}

// nobody is told of new buffers where there is no device.
type nobody struct{}

// Notify implements Notifier.
func (nobody) Notify() {}

// Changed reports whether another device's rings wait. It is one load, for every round.
func (n *Port) Changed() bool { return n.wanted.Load() != nil }

// Sync takes over the rings of another device, or of none. Frames that are held are lost
// with the old one's memory. Frames for the NIC are not given up: the next one may take them.
func (n *Port) Sync() (gone bool) {
	rings := n.wanted.Load()
	if rings == nil {
		return false
	}
	if n.left() {
		n.wanted.Store(nil)
		return false
	}
	n.Abandon()
	n.rings = *rings
	n.DisableKicks()
	n.wanted.Store(nil) // control waits, so nothing newer can be in it
	n.synced <- struct{}{}
	return false
}

// Leave says that nobody forwards any more: replace no longer waits.
func (n *Port) Leave() {
	if !n.left() {
		close(n.gone)
	}
}

// left reports whether Leave was called.
func (n *Port) left() bool {
	select {
	case <-n.gone:
		return true
	default:
		return false
	}
}

// OnChange is Port.OnChange for all queue pairs.
func (p *Device) OnChange(wake func()) {
	for _, n := range p.queues {
		n.OnChange(wake)
	}
}

// Detach takes the device's rings from the forwarders: when it returns they touch neither
// its registers nor its memory, and frames to it are dropped. Watch must have returned.
func (p *Device) Detach() {
	for _, n := range p.queues {
		n.replace(nil)
	}
}

// TakeOver makes the queue pairs of another NIC, which is detached, those of this one, which
// nobody forwards for yet. There are as many, see Pairs.
func (p *Device) TakeOver(detached *Device) {
	for i, n := range detached.queues {
		n.replace(p.queues[i])
		p.queues[i] = n
	}
}
