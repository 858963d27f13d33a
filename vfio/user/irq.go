package vfiouser

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// interrupts holds the eventfds of the MSI-X vectors. It is safe for concurrent
// use.
type interrupts struct {
	mu      sync.Mutex
	fds     []int  // by vector; -1 if none
	latched []bool // raised while there was no eventfd
}

func newInterrupts(vectors int) *interrupts {
	q := &interrupts{fds: make([]int, vectors), latched: make([]bool, vectors)}
	for i := range q.fds {
		q.fds[i] = -1
	}
	return q
}

func (q *interrupts) signal(vector int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if vector < 0 || vector >= len(q.fds) {
		return
	}
	q.raise(vector)
}

// raise is signal with mu held.
func (q *interrupts) raise(vector int) {
	if q.fds[vector] < 0 {
		q.latched[vector] = true
		return
	}
	q.latched[vector] = false
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// The descriptors are eventfds in non-blocking mode. A write fails only when
	// the counter is full, and then the interrupt is on its way already.
	unix.Write(q.fds[vector], one[:])
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
	q.mu.Lock()
	defer q.mu.Unlock()
	for v := range q.fds {
		q.assign(v, -1)
	}
	clear(q.latched)
}

// assign sets the eventfd of a vector (-1: none) with mu held, and lets out what
// was latched.
func (q *interrupts) assign(vector, fd int) {
	if old := q.fds[vector]; old >= 0 {
		unix.Close(old)
	}
	q.fds[vector] = fd
	if fd >= 0 && q.latched[vector] {
		q.raise(vector)
	}
}

// set carries out DEVICE_SET_IRQS for MSI-X. It takes the descriptors it uses
// from the request.
func (q *interrupts) set(s irqSet, req *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.Flags&irqTrigger == 0 || s.Flags&(irqMask|irqUnmask) != 0 {
		return fmt.Errorf("vectors cannot be masked by message (flags %#x): %w", s.Flags, unix.EINVAL)
	}
	if uint64(s.Start)+uint64(s.Count) > uint64(len(q.fds)) {
		return fmt.Errorf("vectors %d+%d of %d: %w", s.Start, s.Count, len(q.fds), unix.EINVAL)
	}
	first, count := int(s.Start), int(s.Count)
	switch data := s.Flags & (irqDataNone | irqDataBool | irqDataEventFD); {
	case data == irqDataNone && count == 0 && first == 0: // all off; latches stay, see Host.Signal
		for v := range q.fds {
			q.assign(v, -1)
		}
	case data == irqDataNone:
		for v := first; v < first+count; v++ {
			q.raise(v)
		}
	case data == irqDataBool:
		if len(s.Data) < count {
			return fmt.Errorf("%d flags for %d vectors: %w", len(s.Data), count, unix.EINVAL)
		}
		for i := range count {
			if s.Data[i] != 0 {
				q.raise(first + i)
			}
		}
	case data == irqDataEventFD && len(req.fds) == 0: // these off
		for v := first; v < first+count; v++ {
			q.assign(v, -1)
		}
	case data == irqDataEventFD:
		if len(req.fds) != count {
			return fmt.Errorf("%d descriptors for %d vectors: %w", len(req.fds), count, unix.EINVAL)
		}
		for i := range count {
			if err := unix.SetNonblock(req.fds[i], true); err != nil {
				return fmt.Errorf("eventfd of vector %d: %w", first+i, err)
			}
		}
		for i := range count {
			q.assign(first+i, req.takeFD(i))
		}
	default:
		return fmt.Errorf("flags %#x: %w", s.Flags, unix.EINVAL)
	}
	return nil
}
