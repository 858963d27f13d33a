package vring_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A ring under load between two threads that only poll: every buffer arrives
// once, in order and with the content it was offered with, and what the device
// writes into it comes back. Off the heap the processor's own ordering is put to
// the test; on the heap the race detector checks that the indices order the
// accesses to ring and buffers.
func TestTwoThreadsPolling(t *testing.T) {
	items := uint64(500_000) // indices wrap seven times
	switch {
	case vring.RaceEnabled:
		items = 60_000
	case testing.Short():
		items = 150_000
	}
	for _, cfg := range []vringtest.Config{
		{Size: 256, OffHeap: true},
		{Size: 2, OffHeap: true, EventIdx: true, Start: 60000},
		{Size: 64, OffHeap: true, Indirect: true, IndirectParts: 2},
		{Size: 256},
		{Size: 256, OffHeap: true, Packed: true},
		{Size: 2, OffHeap: true, Packed: true, EventIdx: true, Start: 60000},
		{Size: 67, OffHeap: true, Packed: true},
		{Size: 64, OffHeap: true, Packed: true, Indirect: true, IndirectParts: 2},
		{Size: 256, Packed: true},
	} {
		if cfg.OffHeap && vring.RaceEnabled {
			continue // the detector does not see that memory
		}
		t.Run(fmt.Sprintf("packed=%v/size=%d/offheap=%v/indirect=%v", cfg.Packed, cfg.Size, cfg.OffHeap, cfg.Indirect), func(t *testing.T) {
			n := items
			if cfg.Size == 2 {
				n /= 25 // every buffer waits for the other thread
			}
			p := vringtest.NewPair(t, cfg)
			buffers := newSlots(p)
			var stop atomic.Bool // a side has failed: the other would wait for ever
			failed := make(chan error, 1)
			go func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				err := echo(p.Device, n, &stop)
				stop.Store(err != nil)
				failed <- err
			}()
			if err := buffers.feed(p.Driver, n, &stop); err != nil {
				stop.Store(true)
				t.Error(err)
			}
			if err := <-failed; err != nil {
				t.Error(err)
			}
		})
	}
}

// idleLooks counts looks at a ring that found nothing. After many of them the
// other side probably waits for this one's processor.
type idleLooks int

func (n *idleLooks) look() {
	if *n++; *n > 500 {
		runtime.Gosched()
	}
}

// slots are buffers of two parts, one for each descriptor of a ring: 8 bytes
// that the device reads and 8 that it writes.
type slots struct {
	read, write []vring.Part
	out, in     [][]byte
	want        []uint64 // what the buffer with this head carries
}

func newSlots(p *vringtest.Pair) *slots {
	n := p.Driver.Size()
	s := &slots{want: make([]uint64, n)}
	for range n {
		out, outBytes := p.Alloc(8)
		in, inBytes := p.Alloc(8)
		s.read = append(s.read, vringtest.Part(out, 8))
		s.write = append(s.write, vringtest.Part(in, 8))
		s.out, s.in = append(s.out, outBytes), append(s.in, inBytes)
	}
	return s
}

// scramble makes neighbouring items differ in all bytes.
func scramble(i uint64) uint64 { return (i + 1) * 0x9e3779b97f4a7c15 }

// add offers item i in the buffer of the next free head, or reports false.
func (s *slots) add(q *vring.Driver, i uint64) (bool, error) {
	k := q.NextHead()
	if q.Free() < 2 { // enough for direct chains, more than enough for tables
		return false, nil
	}
	binary.LittleEndian.PutUint64(s.out[k], scramble(i))
	head, err := q.Add(s.read[k:k+1], s.write[k:k+1])
	if err != nil {
		return false, err
	}
	s.want[head] = i
	return true, nil
}

// take takes everything done and checks that it comes in order from item next
// on; it returns the item that comes after.
func (s *slots) take(q *vring.Driver, next uint64) (uint64, error) {
	var u vring.Used
	for q.Completed(); q.Take(&u); next++ {
		if s.want[u.Head] != next {
			return next, fmt.Errorf("item %d came back in place of %d", s.want[u.Head], next)
		}
		if got := binary.LittleEndian.Uint64(s.in[u.Head]); u.Len != 8 || got != ^scramble(next) {
			return next, fmt.Errorf("item %d came back with %d bytes, %#x", next, u.Len, got)
		}
	}
	if err := q.Err(); err != nil {
		return next, fmt.Errorf("driver side at item %d: %w", next, err)
	}
	return next, nil
}

// feed sends n items through the ring in bursts and takes all of them back,
// unless told to stop.
func (s *slots) feed(q *vring.Driver, n uint64, stop *atomic.Bool) error {
	var sent, back uint64
	var idle idleLooks
	for back < n && !stop.Load() {
		before := back
		var err error
		if back, err = s.take(q, back); err != nil {
			return err
		}
		for burst := 0; burst < 32 && sent < n; burst++ {
			ok, err := s.add(q, sent)
			if err != nil {
				return fmt.Errorf("add item %d: %w", sent, err)
			}
			if !ok {
				break
			}
			sent++
		}
		if q.Publish() || back != before {
			idle = 0
		}
		idle.look()
	}
	return nil
}

// serve answers the chains that wait, items from next on, and returns the item
// that comes after them.
func serve(q *vring.Device, next uint64) (uint64, error) {
	var c vring.Chain
	for range 32 {
		if !q.Pop(&c) {
			break
		}
		if len(c.Read) != 1 || len(c.Write) != 1 || c.ReadLen != 8 || c.WriteLen != 8 {
			return next, fmt.Errorf("item %d: chain %+v", next, c)
		}
		if got := binary.LittleEndian.Uint64(c.Read[0]); got != scramble(next) {
			return next, fmt.Errorf("item %d holds %#x", next, got)
		}
		binary.LittleEndian.PutUint64(c.Write[0], ^scramble(next))
		q.Push(c.Head, 8)
		next++
	}
	q.ResetViews()
	q.Publish()
	if err := q.Err(); err != nil {
		return next, fmt.Errorf("device side at item %d: %w", next, err)
	}
	return next, nil
}

// echo serves a ring by polling until n items have come, unless told to stop.
func echo(q *vring.Device, n uint64, stop *atomic.Bool) error {
	var idle idleLooks
	for next := uint64(0); next < n && !stop.Load(); {
		if q.Available() == 0 && q.Err() == nil {
			idle.look()
			continue
		}
		idle = 0
		var err error
		if next, err = serve(q, next); err != nil {
			return err
		}
	}
	return nil
}
