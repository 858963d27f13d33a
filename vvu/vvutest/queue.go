package vvutest

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// queue is one ring of the app VM's network device, seen by its guest.
type queue struct {
	*vring.Driver
	ram     *RAM
	at      uint64 // file offset of the ring; its buffers follow
	entries int
	regions []vhostuser.MemoryRegion
	polls   bool // the guest wants no interrupts
	silent  bool // the front-end gives no kick
	done    int  // completed buffers that were taken since reset
	kick    int
	call    int
}

const (
	bufferBytes = 2048
	buffersAt   = 0x10000 // from the ring
	pairStride  = 0x60000 // from a ring to the next pair's: 8 fit below highAt, and above
	controlAt   = highAt + 8*pairStride
)

// reset lays the ring out again, as a guest's driver does after a device reset.
func (q *queue) reset(features virtio.Features) error {
	memory := q.ram.Bytes[q.at : q.at+uint64(vring.DriverBytes(q.entries))]
	clear(memory)
	return q.layOut(memory, features)
}

// plan finds out where the ring will be, without touching memory that a
// predecessor's back-end may still look at.
func (q *queue) plan() error {
	return q.layOut(alignedHeap(vring.DriverBytes(q.entries)), 0)
}

func (q *queue) layOut(memory []byte, features virtio.Features) error {
	base, err := gpa(q.regions, q.at)
	if err != nil {
		return err
	}
	q.done = 0
	q.Driver, err = vring.NewDriver(vring.DriverConfig{
		Size: q.entries, Memory: memory, Base: base,
		EventIdx: features.Has(virtio.EventIdx), Packed: features.Has(virtio.RingPacked),
		InOrder: features.Has(virtio.InOrder),
	})
	take(q.call)
	return err
}

// ring is what the front-end tells of the queue.
func (q *queue) ring() vhostuser.FrontendRing {
	user := userBase + q.at
	kick, call := q.kick, q.call
	if q.polls {
		call = -1
	}
	if q.silent {
		kick = -1
	}
	desc, avail, used := q.Addresses()
	return vhostuser.FrontendRing{
		Num: uint32(q.entries), Kick: kick, Call: call,
		Desc: user, Avail: user + avail - desc, Used: user + used - desc,
	}
}

// buffer is the memory that belongs to a descriptor, and its address.
func (q *queue) buffer(head uint16) ([]byte, uint64, error) {
	at := q.at + buffersAt + uint64(head)*bufferBytes
	addr, err := gpa(q.regions, at)
	return q.ram.Bytes[at : at+bufferBytes], addr, err
}

// take takes a completed buffer that the last look has seen.
func (q *queue) take(u *vring.Used) bool {
	if !q.Take(u) {
		return false
	}
	q.done++
	return true
}

// reclaim takes back buffers that were completed, of which no one wants to know more.
func (q *queue) reclaim() {
	var u vring.Used
	q.Completed()
	for q.take(&u) {
	}
}

// publish shows what was added, and kicks if the other side asks for it.
func (q *queue) publish() {
	if q.Publish() && q.NeedKick() {
		signal(q.kick)
	}
}

// sleep waits for completed buffers, for which an interrupt must come.
func (q *queue) sleep(deadline time.Time) error {
	for q.Completed() == 0 {
		if err := q.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("nothing comes")
		}
		if q.polls {
			time.Sleep(50 * time.Microsecond)
			continue
		}
		if q.EnableInterrupts() {
			break
		}
		if err := wait(q.call, time.Until(deadline)); err != nil {
			if n := q.Completed(); n > 0 {
				return fmt.Errorf("%d buffers are complete but no interrupt came: %w", n, err)
			}
			return fmt.Errorf("nothing comes: %w", err)
		}
	}
	return nil
}

func (q *queue) close() {
	for _, fd := range []*int{&q.kick, &q.call} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}
