// Package session makes a forwarder's queues follow what a vhost-user front-end
// sets up. It knows neither device nor socket: a Carrier stands for whatever
// brings the messages and gives access to the front-end's memory and interrupts.
package session

import (
	"errors"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// Rings is how many vrings a session serves: one queue pair.
const Rings = 2

// Offered are the features of the network device that the guest sees. What is
// not listed QEMU then withholds from its guest. Offloads are offered whatever the
// other port can do: what it cannot is done in between.
const Offered = virtio.Version1 | virtio.NetMrgRxbuf | virtio.IndirectDesc | virtio.EventIdx | virtio.InOrder |
	virtio.RingPacked | virtio.NetOffloads

// Carrier is the transport's side of a session. The session's goroutine calls it.
type Carrier interface {
	// Map gives access to the regions of a memory table. The result is closed when
	// nothing uses it any more, and before the next Map.
	Map(regions []vhostuser.MemoryRegion) (*Memory, error)
	// Doorbell interrupts the guest for a ring. It returns nil if there is no way
	// to, now.
	Doorbell(ring int) virtionet.Doorbell
	// KickFDs become readable when the guest kicks; negative ones are not there.
	KickFDs() [Rings]int
}

// Memory is a front-end's memory, mapped.
type Memory struct {
	Table *mem.Table
	Unmap func() error
}

// Session holds what one front-end has set up. It belongs to one goroutine.
type Session struct {
	carrier Carrier
	backend *vhostuser.Backend
	guest   *virtionet.Guest
	log     *zap.Logger

	memory  *Memory
	rings   [Rings]*vring.Device
	running [Rings]vhostuser.RingState // as rings[i] was built
}

// New returns a session without a front-end that will serve guest's queues.
func New(carrier Carrier, cfg vhostuser.BackendConfig, guest *virtionet.Guest, log *zap.Logger) *Session {
	cfg.Features, cfg.Rings = Offered, Rings
	return &Session{carrier: carrier, backend: vhostuser.NewBackend(cfg), guest: guest, log: log}
}

// Handle carries one message out and returns the reply, if any. An error ends
// the session, except for a *vhostuser.Refusal, which is only logged.
func (s *Session) Handle(m vhostuser.Message) (*vhostuser.Message, error) {
	reply, effects, err := s.backend.Handle(m)
	s.log.Debug("message", zap.Stringer("request", m.Request), zap.Int("size", len(m.Payload)),
		zap.Uint32("flags", m.Flags), zap.Stringers("effects", effects), zap.Error(err))
	for _, e := range effects {
		stopped, failed := s.apply(e)
		switch {
		case stopped != nil:
			reply = stopped
		case failed != nil:
			s.log.Error("cannot serve the front-end", zap.Stringer("request", m.Request), zap.Error(failed))
			if reply != nil && !m.Request.HasReply() {
				nack := vhostuser.Ack(m.Request, 1)
				reply = &nack
			}
		}
	}
	var refusal *vhostuser.Refusal
	if errors.As(err, &refusal) {
		s.log.Warn("refused a message of the front-end", zap.Error(err))
		err = nil
	}
	return reply, err
}

// apply makes the data path follow one effect. For EffectStop it returns the
// reply that the front-end waits for.
func (s *Session) apply(e vhostuser.Effect) (reply *vhostuser.Message, err error) {
	switch e.Kind {
	case vhostuser.EffectReset:
		s.stopAll()
		return nil, s.unmap()
	case vhostuser.EffectFeatures:
		features, _ := s.backend.Stray()
		s.log.Info("features negotiated", zap.Stringer("features", s.backend.Features()), zap.Stringer("not offered", features))
		return nil, s.restart()
	case vhostuser.EffectMemory:
		return nil, s.remap()
	case vhostuser.EffectRing:
		return nil, s.follow(e.Index)
	case vhostuser.EffectStop:
		m := s.backend.Stopped(e.Index, s.stop(e.Index))
		return &m, nil
	case vhostuser.EffectSignal:
		if bell := s.carrier.Doorbell(e.Index); bell != nil {
			bell.Ring()
		}
	case vhostuser.EffectMTU:
		s.log.Info("the front-end limits what its guest takes", zap.Uint16("mtu", s.backend.MTU()))
		s.install()
	}
	return nil, nil // announcements and the MAC concern nobody here
}

// stop stops ring i, waits until nothing touches it any more, and returns where
// it stands.
func (s *Session) stop(i int) uint32 {
	q := s.rings[i]
	if q == nil { // it never came to run: its memory or addresses were no good
		return s.backend.Ring(i).Base
	}
	s.rings[i] = nil
	s.install()
	s.log.Info("ring stopped", zap.Int("ring", i), zap.Uint16("next avail", q.NextAvail()))
	return q.Position()
}

// stopAll stops every ring and tells the protocol where each stands.
func (s *Session) stopAll() {
	old := s.rings
	s.rings = [Rings]*vring.Device{}
	s.guest.Install(nil)
	for i, q := range old {
		if q != nil {
			s.backend.Stopped(i, q.Position())
		}
	}
}

// restart builds all rings anew where they stand.
func (s *Session) restart() error {
	s.stopAll()
	var errs []error
	for i := range Rings {
		errs = append(errs, s.follow(i))
	}
	return errors.Join(errs...)
}

// remap replaces the guest's memory and then all rings. The device has swapped
// the BAR already; until the rings are stopped nobody but their owner is at fault.
func (s *Session) remap() error {
	s.stopAll()
	if err := s.unmap(); err != nil {
		return err
	}
	regions := s.backend.Regions()
	memory, err := s.carrier.Map(regions)
	if err != nil {
		s.backend.ForgetMemory()
		return err
	}
	s.memory = memory
	var total uint64
	for _, r := range regions {
		total += r.Size
	}
	s.log.Info("guest memory mapped", zap.Int("regions", len(regions)), zap.Uint64("MiB", total>>20))
	return s.restart()
}

func (s *Session) unmap() error {
	if s.memory == nil {
		return nil
	}
	memory := s.memory
	s.memory = nil
	return memory.Unmap()
}

// follow makes ring i what the protocol says it is.
func (s *Session) follow(i int) error {
	want := s.backend.Ring(i)
	switch running := s.rings[i] != nil; {
	case running && !want.Ready:
		s.backend.Stopped(i, s.stop(i))
		return nil
	case running && !samePlace(want, s.running[i]): // only addresses can change while it runs
		s.backend.Stopped(i, s.stop(i))
		return s.start(i)
	case !running && want.Ready && s.memory != nil:
		if err := s.start(i); err != nil {
			s.install() // the carrier closes the kick and the call that were replaced
			return err
		}
		return nil
	}
	s.install() // enable flag or call
	return nil
}

func samePlace(a, b vhostuser.RingState) bool {
	return a.Num == b.Num && a.Desc == b.Desc && a.Avail == b.Avail && a.Used == b.Used
}

// install hands the rings that run to the forwarder and waits for it.
func (s *Session) install() {
	features := s.backend.Features()
	q := &virtionet.Queues{
		ToGuest: s.rings[0], FromGuest: s.rings[1],
		ToGuestEnabled: s.backend.Ring(0).Enabled, FromGuestEnabled: s.backend.Ring(1).Enabled,
		MTU:   int(s.backend.MTU()),
		Sends: virtionet.OffloadsToDevice(features), Takes: virtionet.OffloadsToDriver(features),
		HeaderLen: virtionet.HeaderSize(features), Mergeable: features.Has(virtio.NetMrgRxbuf),
	}
	for _, fd := range s.carrier.KickFDs() {
		if fd >= 0 {
			q.KickFDs = append(q.KickFDs, fd)
		}
	}
	for i, call := range []*virtionet.Doorbell{&q.ToGuestCall, &q.FromGuestCall} {
		if s.backend.Ring(i).Callable {
			*call = s.carrier.Doorbell(i)
		}
	}
	s.guest.Install(q)
}

// Bounce ends a session as far as a device that may go on with the same
// front-end has ended it: rings stand still, memory is gone, and what was
// negotiated stays until it is clear that another front-end has come (see
// vhostuser.Backend).
func (s *Session) Bounce() error {
	s.stopAll()
	err := s.unmap()
	s.backend.Bounce()
	return err
}

// Reset ends a session: the next message is another front-end's.
func (s *Session) Reset() error {
	s.stopAll()
	err := s.unmap()
	s.backend.Reset()
	return err
}

// Regions is the memory table in force.
func (s *Session) Regions() []vhostuser.MemoryRegion { return s.backend.Regions() }
