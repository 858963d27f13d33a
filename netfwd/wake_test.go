package netfwd

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A loop that sleeps at every chance, without a limit, misses nothing. There is one frame at a
// time, which takes three buffers, so nothing else wakes the loop: if it misses the frame or one of
// the buffers, the frame does not arrive. They come in any order and at any moment of the loop's way to
// sleep, and are kicked for only if the ring asks for it. Now and then control gives the rings
// another eventfd meanwhile, takes them away and starts them where they were, or asks for statistics.
func TestNothingIsMissedAsleepInAStorm(t *testing.T) {
	for _, cfg := range []vringtest.Config{
		{Size: 16}, {Size: 16, EventIdx: true}, {Size: 16, Packed: true}, {Size: 16, Packed: true, EventIdx: true},
	} {
		t.Run(fmt.Sprintf("packed %v, EVENT_IDX %v", cfg.Packed, cfg.EventIdx), func(t *testing.T) {
			s := newStorm(t, cfg)
			for range 1500 {
				s.frame()
			}
		})
	}
}

const (
	stormBuffer  = 100
	stormBuffers = (virtionet.HeaderLen + frameLen + stormBuffer - 1) / stormBuffer
)

// storm is a guest that sends to another one through a loop.
type storm struct {
	t        *testing.T
	loop     *Loop
	from, to *vm
	frameAt  vring.Part
	bufferAt vring.Part
	rng      *rand.Rand
	fds      []int // for kicks
}

func newStorm(t *testing.T, cfg vringtest.Config) *storm {
	s := &storm{t: t, from: newVMWith(t, "from", cfg), to: newVMWith(t, "to", cfg), rng: rand.New(rand.NewSource(1))}
	s.loop = startLoop(t, s.from, s.to, Config{CPU: -1, onKicksOnly: true}, func(err error) { t.Error(err) })
	for _, v := range []*vm{s.from, s.to} {
		v.OnChange(s.loop.Wake)
		v.Install(s.queues(v))
	}
	for range 4 {
		s.fds = append(s.fds, eventFD(t))
	}
	addr, _ := s.from.tx.Alloc(virtionet.HeaderLen + frameLen)
	s.frameAt = vringtest.Part(addr, virtionet.HeaderLen+frameLen)
	addr, _ = s.to.rx.Alloc(stormBuffer)
	s.bufferAt = vringtest.Part(addr, stormBuffer)
	return s
}

func (s *storm) queues(v *vm) *guest.Queues {
	q := v.queues()
	q.KickFDs = []int{int(v.kickBy.Load())}
	return q
}

// frame sends one, and offers what it takes, and waits until it has arrived.
func (s *storm) frame() {
	s.t.Helper()
	steps := []func(){func() { s.add(s.from, s.from.tx.Driver, []vring.Part{s.frameAt}, nil) }}
	for range stormBuffers {
		steps = append(steps, func() { s.add(s.to, s.to.rx.Driver, nil, []vring.Part{s.bufferAt}) })
	}
	s.rng.Shuffle(len(steps), func(i, k int) { steps[i], steps[k] = steps[k], steps[i] })
	controlled := make(chan struct{})
	if what, v := s.rng.Intn(32), []*vm{s.from, s.to}[s.rng.Intn(2)]; what < 4 {
		fd := s.fds[s.rng.Intn(len(s.fds))]
		go func() { defer close(controlled); s.control(what, v, fd) }()
	} else {
		close(controlled)
	}
	for _, step := range steps {
		for end := time.Now().Add(time.Duration(s.rng.Intn(20)) * time.Microsecond); time.Now().Before(end); {
		}
		step()
	}
	<-controlled
	s.arrived()
}

func (s *storm) add(v *vm, d *vring.Driver, read, write []vring.Part) {
	if _, err := d.Add(read, write); err != nil {
		s.t.Error(err)
	}
	v.kickIf(d)
}

// arrived takes the frame, and what came back, when an interrupt says so.
func (s *storm) arrived() {
	s.t.Helper()
	for s.to.rx.Driver.Completed() < stormBuffers {
		if s.to.rx.Driver.EnableInterrupts() && s.to.rx.Driver.Completed() >= stormBuffers {
			break
		}
		select {
		case <-s.to.irq.c:
		case <-time.After(20 * time.Second): // a loop that has missed something sleeps for ever
			s.t.Fatalf("the frame does not arrive: %d buffers of %d, from %v, to %v", s.to.rx.Driver.Completed(), stormBuffers, s.from.tx.Device.Err(), s.to.rx.Device.Err())
		}
	}
	var u vring.Used
	for s.to.rx.Driver.Take(&u) {
	}
	for deadline := time.Now().Add(20 * time.Second); s.from.tx.Driver.Completed() == 0; {
		if time.Now().After(deadline) {
			s.t.Fatal("the sender's buffer does not come back")
		}
	}
	for s.from.tx.Driver.Take(&u) {
	}
}

// control does what a guest's front-end asks for.
func (s *storm) control(what int, v *vm, fd int) {
	switch what {
	case 0: // a kick that goes there before anybody listens stays there
		v.kickBy.Store(int32(fd))
	case 1:
		v.Pause()
		v.rx.Device, v.tx.Device = s.again(v.rx), s.again(v.tx)
	case 2: // its receive ring alone is away, and its transmit ring disabled
		q := s.queues(v)
		q.ToGuest, q.FromGuestEnabled = nil, false
		q.ToGuestAwaited, q.FromGuestAwaited = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
		v.Install(q)
	case 3:
		Collect([]*Loop{s.loop})
		return
	}
	v.Install(s.queues(v))
}

// again makes a ring that goes on where one is that has stopped.
func (s *storm) again(p *vringtest.Pair) *vring.Device {
	cfg := p.DeviceConfig
	cfg.NextAvail = uint16(p.Device.Position())
	d, err := vring.NewDevice(cfg)
	if err != nil {
		s.t.Error(err)
		return p.Device
	}
	return d
}
