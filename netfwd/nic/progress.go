package nic

import (
	"context"
	"fmt"
	"time"
)

// A card hangs when it has frames to send and is done with none of them. What it has only the
// forwarder can tell, who is asked now and then: the answer costs it nothing while no one asks, and
// one that sleeps is woken for it only if the card had something when it fell asleep.

// hungLooks is how many looks in a row must see the same frames in the card's hands, and lookEvery
// is how long after each other they are. Linux's own watchdog waits for 5 s; a machine that
// stood still for long must not count as a card that did, which is why looks are counted.
const (
	hungLooks = 5
	lookEvery = 2 * time.Second
)

// progress is what a forwarder tells of a queue pair, for control: the number of frames that
// the card has, and below it how many it was done with, as far as 48 bits hold them. 0: nothing
// was told.
type progress uint64

const doneBits = 48

func progressOf(pending int, done uint64) progress {
	return 1<<63 | progress(min(pending, 1<<15-1))<<doneBits | progress(done&(1<<doneBits-1))
}

func (p progress) pending() int { return int(p >> doneBits & (1<<15 - 1)) }

// HungError says that a queue pair of a card sends nothing any more.
type HungError struct {
	Port    string
	Pending int           // frames or parts of frames
	For     time.Duration // at least
}

func (e *HungError) Error() string {
	return fmt.Sprintf("%s: hangs: %d frames to be sent are with the device, and none was done in %v", e.Port, e.Pending, e.For)
}

// awaitFailure waits until the card says that it has failed, or hangs, which is looked
// at in that interval, and returns why; or until ctx is done, and returns nil.
func (s *Slot) awaitFailure(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	looks := make([]look, len(s.ports))
	failed := s.failures()
	for {
		select {
		case <-ctx.Done():
			return nil
		case why := <-failed:
			return why
		case <-tick.C:
		}
		for i, p := range s.ports {
			if n := looks[i].again(p); n >= hungLooks {
				return &HungError{Port: p.name, Pending: looks[i].last.pending(), For: hungLooks * every}
			}
		}
	}
}

// look is what was seen of a port's progress.
type look struct {
	last progress
	same int // looks in a row that saw this, while there was something to do
}

// again looks at what the forwarder has told since it was asked, and asks anew. It returns
// how many looks in a row saw no progress.
func (l *look) again(p *port) int {
	if told := progress(p.told.Swap(0)); told != 0 {
		if told.pending() > 0 && told == l.last && !p.linkDown.Load() {
			l.same++
		} else {
			l.same = 0
		}
		l.last = told
	}
	p.asked.Store(true)
	if l.last.pending() > 0 {
		p.wake()
	}
	return l.same
}
