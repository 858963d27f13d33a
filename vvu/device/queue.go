package device

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
)

// Message queues.
const (
	rxq = 0 // to the driver
	txq = 1 // from the driver

	queueSize = 128 // entries, at most
)

// queue is a message queue as its registers describe it.
type queue struct {
	size    uint16
	vector  uint16
	enabled bool
	desc    uint64
	avail   uint64
	used    uint64

	ring *vring.Device // nil until used, and after a change of memory
	next uint16        // avail index to go on at when ring is built again

	lost time.Time // since when the queue lies in unmapped memory; zero if it does not
}

// release forgets the ring's place in memory, but not where it stands.
func (q *queue) release() {
	if q.ring != nil {
		q.next = q.ring.NextAvail()
		q.ring = nil
	}
}

// Outcomes of taking a chain from a queue.
type outcome int

const (
	taken outcome = iota
	empty         // nothing there, or the queue is not in use; the driver will notify
	later         // its memory is not mapped at the moment
)

const (
	// A monitor that rearranges its guest's memory unmaps it and maps it again;
	// in between a queue is out of reach. That lasts microseconds.
	retryUnmapped = 20 * time.Millisecond
	giveUpOn      = time.Second
)

// withQueue calls f with the ring of a queue that is in use. Memory that vanishes
// meanwhile becomes an error of the driver VM, as everything else that is wrong
// with a ring does. mu is held.
func (d *Device) withQueue(index int, f func(*vring.Device) outcome) (result outcome) {
	q := &d.queues[index]
	if d.host == nil || d.broken() || !q.enabled || d.status&virtio.StatusDriverOK == 0 {
		return empty
	}
	// A fault on mapped memory is a panic only where this is set, and only in
	// this goroutine.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface {
				error
				Addr() uintptr
			})
			if !ok {
				panic(r) // a bug of ours
			}
			q.ring = nil
			d.needsReset(fmt.Errorf("memory of message queue %d vanished: %w", index, fault))
			result = empty
		}
	}()
	if q.ring == nil {
		ring, err := vring.NewDevice(vring.DeviceConfig{
			Size: int(q.size), Mem: d.host.Memory(),
			Desc: mem.GPA(q.desc), Avail: mem.GPA(q.avail), Used: mem.GPA(q.used),
			EventIdx: d.features.Has(virtio.EventIdx), Indirect: d.features.Has(virtio.IndirectDesc),
			NextAvail: q.next,
		})
		if err != nil {
			return d.queueFault(index, err)
		}
		q.ring = ring
	}
	result = f(q.ring)
	if err := q.ring.Err(); err != nil {
		return d.queueFault(index, err)
	}
	q.lost = time.Time{}
	return result
}

// queueFault deals with a ring that cannot be used: what is not mapped may come
// back, anything else is the driver's fault.
func (d *Device) queueFault(index int, err error) outcome {
	q := &d.queues[index]
	now := time.Now()
	if q.lost.IsZero() {
		q.lost = now
	}
	if !errors.Is(err, vring.FaultUnmapped) || now.Sub(q.lost) > giveUpOn {
		d.needsReset(fmt.Errorf("message queue %d: %w", index, err))
		return empty
	}
	q.release()
	if !d.retrying { // one for all who wait: each of them comes here again
		d.retrying = true
		time.AfterFunc(retryUnmapped, func() {
			d.mu.Lock()
			defer d.unlock()
			d.retrying = false
			d.cond.Broadcast()
		})
	}
	return later
}

// pop takes the next chain of a queue, lets use look at it and gives it back with
// the number of bytes written, if use is content. When there is no chain the
// driver is asked to notify of the next. mu is held.
func (d *Device) pop(index int, c *vring.Chain, use func() (written uint32, ok bool)) outcome {
	return d.withQueue(index, func(r *vring.Device) outcome {
		if r.Available() == 0 && !r.EnableKicks() {
			return empty
		}
		if !r.Pop(c) {
			return empty
		}
		written, ok := use()
		r.ResetViews()
		if !ok {
			return empty
		}
		r.Push(c.Head, written)
		r.Publish()
		if r.NeedSignal() {
			d.isr |= isrQueue
			d.interrupt(d.queues[index].vector)
		}
		return taken
	})
}
