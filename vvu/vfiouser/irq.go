package vfiouser

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

// interrupts holds the eventfds of the MSI-X vectors. It is safe for concurrent
// use. No eventfd is touched while mu is held.
type interrupts struct {
	events *peerfd.Set

	mu      sync.Mutex
	fds     []*peerfd.Event // by vector; nil if none
	latched []bool          // raised while there was no eventfd
}

func newInterrupts(events *peerfd.Set, vectors int) *interrupts {
	return &interrupts{events: events, fds: make([]*peerfd.Event, vectors), latched: make([]bool, vectors)}
}

func (q *interrupts) signal(vector int) {
	if vector < 0 || vector >= len(q.fds) {
		return
	}
	q.mu.Lock()
	e := q.raise(vector)
	q.mu.Unlock()
	q.ring(vector, e)
}

// ring rings the eventfd that a vector had a moment ago. One that is replaced or taken away
// meanwhile may be rung when it is closed already, or no one waits for it any more: then the interrupt is
// raised once more, where someone does, or latched. One too many does no harm, one that
// is lost leaves a driver asleep for ever.
func (q *interrupts) ring(vector int, e *peerfd.Event) {
	for e != nil {
		e.Ring()
		q.mu.Lock()
		if q.fds[vector] == e {
			q.mu.Unlock()
			return
		}
		e = q.raise(vector)
		q.mu.Unlock()
	}
}

// raise latches a vector or returns the eventfd to be rung for it; mu is held.
func (q *interrupts) raise(vector int) *peerfd.Event {
	q.latched[vector] = q.fds[vector] == nil
	return q.fds[vector]
}

func (q *interrupts) pending(vector int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return vector >= 0 && vector < len(q.latched) && q.latched[vector]
}

// forget drops what is latched: the device was reset.
func (q *interrupts) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.latched)
}

// close gives up all eventfds and what is latched.
func (q *interrupts) close() {
	q.assign(0, make([]*peerfd.Event, len(q.fds)))
	q.forget()
}

// assign sets the eventfds of some vectors (nil: none), and lets out what was latched.
func (q *interrupts) assign(first int, events []*peerfd.Event) {
	old := make([]*peerfd.Event, len(events))
	latched := make([]*peerfd.Event, len(events))
	q.mu.Lock()
	copy(old, q.fds[first:])
	copy(q.fds[first:], events)
	for i, e := range events {
		if v := first + i; e != nil && q.latched[v] {
			latched[i] = q.raise(v)
		}
	}
	q.mu.Unlock()
	for i := range events {
		q.ring(first+i, latched[i])
		old[i].Close()
	}
}

// trigger raises vectors as the client asks for it: all, or those with a flag.
func (q *interrupts) trigger(first, count int, flags []byte) {
	for i := range count {
		if flags == nil || flags[i] != 0 {
			q.signal(first + i)
		}
	}
}

// take makes events of a request's descriptors: of all, or of none.
func (q *interrupts) take(first int, req *request) ([]*peerfd.Event, error) {
	events := make([]*peerfd.Event, len(req.fds))
	for i, fd := range req.fds {
		e, err := q.events.Event(fd)
		if err != nil {
			for _, e := range events {
				e.Close()
			}
			return nil, fmt.Errorf("eventfd of vector %d: %w (%w)", first+i, err, unix.EINVAL)
		}
		req.takeFD(i)
		events[i] = e
	}
	return events, nil
}

// set carries out DEVICE_SET_IRQS for MSI-X. It takes the descriptors it uses
// from the request.
func (q *interrupts) set(s irqSet, req *request) error {
	if s.Flags&irqTrigger == 0 || s.Flags&(irqMask|irqUnmask) != 0 {
		return fmt.Errorf("vectors cannot be masked by message (flags %#x): %w", s.Flags, unix.EINVAL)
	}
	if uint64(s.Start)+uint64(s.Count) > uint64(len(q.fds)) {
		return fmt.Errorf("vectors %d+%d of %d: %w", s.Start, s.Count, len(q.fds), unix.EINVAL)
	}
	first, count := int(s.Start), int(s.Count)
	switch data := s.Flags & (irqDataNone | irqDataBool | irqDataEventFD); {
	case data == irqDataNone && count == 0 && first == 0: // all off; latches stay, see Host.Signal
		q.assign(0, make([]*peerfd.Event, len(q.fds)))
	case data == irqDataNone:
		q.trigger(first, count, nil)
	case data == irqDataBool:
		if len(s.Data) < count {
			return fmt.Errorf("%d flags for %d vectors: %w", len(s.Data), count, unix.EINVAL)
		}
		q.trigger(first, count, s.Data[:count])
	case data == irqDataEventFD && len(req.fds) == 0: // these off
		q.assign(first, make([]*peerfd.Event, count))
	case data == irqDataEventFD:
		if len(req.fds) != count {
			return fmt.Errorf("%d descriptors for %d vectors: %w", len(req.fds), count, unix.EINVAL)
		}
		events, err := q.take(first, req)
		if err != nil {
			return err
		}
		q.assign(first, events)
	default:
		return fmt.Errorf("flags %#x: %w", s.Flags, unix.EINVAL)
	}
	return nil
}
