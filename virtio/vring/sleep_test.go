package vring_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// line is what an eventfd is: ringing it wakes whoever sleeps on it, now or
// next. hung is closed when no one has woken for too long.
type line struct {
	wake  chan struct{}
	hung  <-chan struct{}
	rings atomic.Uint64
	naps  uint64
}

var errHung = errors.New("sleeps for ever")

func (l *line) ring() {
	l.rings.Add(1)
	select {
	case l.wake <- struct{}{}:
	default: // rung already
	}
}

func (l *line) sleep() error {
	l.naps++
	select {
	case <-l.wake:
		return nil
	case <-l.hung:
		return errHung
	}
}

// drowsiness is how long a side polls before it arms its notifications. It
// varies, so that arming falls into every stage of what the other side does.
// Where all takes many times as long, under the race detector and in an
// emulator (-short), so does a look: there are fewer, or nearly all of the
// time went by in polling for who waits for a processor, and few ever slept.
type drowsiness struct {
	random uint32
	tries  int // in which no one has slept: it polls half as long for each
}

func (d *drowsiness) poll(work func() bool) {
	d.random = d.random*1664525 + 1013904223
	most := 14 // bits
	if vring.RaceEnabled || testing.Short() {
		most = 10
	}
	for range d.random >> (32 - most) >> d.tries { // up to 16383 looks, or 1023
		if work() {
			return
		}
	}
}

// Two sides that sleep: each goes to sleep only when arming its notifications
// finds nothing to do, and wakes the other only if the ring says that it wants
// to be woken. A single lost wake-up stops both. Small rings make them sleep
// often, and the driver side sleeps for room as well as for the last buffers.
func TestSleepersAlwaysWake(t *testing.T) { bothFormats(t, testSleepersAlwaysWake) }

func testSleepersAlwaysWake(t *testing.T, packed bool) {
	items := uint64(20_000)
	if vring.RaceEnabled || testing.Short() {
		items = 5000
	}
	for _, size := range []int{2, 8, 256} {
		for _, eventIdx := range []bool{false, true} {
			for _, offHeap := range []bool{false, true} {
				if offHeap && vring.RaceEnabled {
					continue // the detector does not see that memory
				}
				t.Run(fmt.Sprintf("size=%d/eventidx=%v/offheap=%v", size, eventIdx, offHeap), func(t *testing.T) {
					n := items
					if size == 2 {
						n /= 2
					}
					cfg := vringtest.Config{Packed: packed, Size: size, EventIdx: eventIdx, OffHeap: offHeap, Start: 65000}
					for try := range tries {
						if sleepers(t, cfg, n, try) > 0 || t.Failed() {
							return
						}
					}
					t.Error("no one ever slept: the test has shown nothing")
				})
			}
		}
	}
}

// tries is how often the two may run without a nap: a long ring, both sides on
// quiet CPUs, can carry all items before either has looked in vain for long enough. It is not as
// long the next time.
const tries = 20

// patience is how long the two may make no progress at all. It is far beyond
// what a busy machine needs to run either of them.
const patience = time.Minute

// sleepers returns how often either slept.
func sleepers(t *testing.T, cfg vringtest.Config, n uint64, tries int) (naps uint64) {
	t.Helper()
	p := vringtest.NewPair(t, cfg)
	hung := make(chan struct{})
	kicks := &line{wake: make(chan struct{}, 1), hung: hung}
	interrupts := &line{wake: make(chan struct{}, 1), hung: hung}
	buffers := newSlots(p)

	failed := make(chan error, 2)
	go func() { failed <- sleepyDevice(p.Device, n, kicks, interrupts, drowsiness{tries: tries}) }()
	go func() { failed <- buffers.sleepyDriver(p.Driver, n, kicks, interrupts, drowsiness{tries: tries}) }()
	watchdog := time.NewTimer(patience)
	defer watchdog.Stop()
	for range 2 {
		select {
		case err := <-failed:
			if err != nil {
				t.Error(err)
			}
			watchdog.Reset(patience)
		case <-watchdog.C:
			t.Error("no progress")
			close(hung)
			for range cap(failed) - len(failed) {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
			return 0
		}
	}
	t.Logf("%d items: %d kicks for %d naps of the device, %d interrupts for %d naps of the driver",
		n, kicks.rings.Load(), kicks.naps, interrupts.rings.Load(), interrupts.naps)
	return kicks.naps + interrupts.naps
}

// sleepyDevice serves n items and sleeps whenever there is nothing to do.
func sleepyDevice(q *vring.Device, n uint64, kicks, interrupts *line, drowsy drowsiness) error {
	for next := uint64(0); next < n; {
		q.DisableKicks()
		for q.Available() > 0 {
			var err error
			if next, err = serve(q, next); err != nil {
				return err
			}
			if q.NeedSignal() {
				interrupts.ring()
			}
		}
		drowsy.poll(func() bool { return q.Available() > 0 })
		if next == n || q.EnableKicks() {
			continue
		}
		if err := q.Err(); err != nil {
			return err
		}
		if err := kicks.sleep(); err != nil {
			return fmt.Errorf("device side at item %d: %w", next, err)
		}
	}
	return nil
}

// sleepyDriver sends n items and sleeps whenever the ring is full or the last of
// them are outstanding.
func (s *slots) sleepyDriver(q *vring.Driver, n uint64, kicks, interrupts *line, drowsy drowsiness) error {
	for sent, back := uint64(0), uint64(0); back < n; {
		q.DisableInterrupts()
		var err error
		if back, err = s.take(q, back); err != nil {
			return err
		}
		for sent < n {
			ok, err := s.add(q, sent)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			sent++
			// Bursts of one to four: the device is at all stages of going to sleep.
			if sent%4 == 0 || sent%7 == 0 {
				if q.Publish() && q.NeedKick() {
					kicks.ring()
				}
			}
		}
		if q.Publish() && q.NeedKick() {
			kicks.ring()
		}
		drowsy.poll(func() bool { return q.Completed() > 0 })
		if back == n || q.EnableInterrupts() {
			continue
		}
		if err := interrupts.sleep(); err != nil {
			return fmt.Errorf("driver side with %d sent and %d back: %w", sent, back, err)
		}
	}
	return nil
}
