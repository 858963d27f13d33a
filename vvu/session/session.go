// Package session makes a forwarder's queues follow what a vhost-user front-end
// sets up. It knows neither device nor socket: a Carrier stands for whatever
// brings the messages and gives access to the front-end's memory and interrupts.
package session

import (
	"errors"
	"slices"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// MaxPairs is the largest number of queue pairs that a session serves.
const MaxPairs = 8

// Offered are the features of the network device that the guest sees. What is
// not listed QEMU then withholds from its guest. Offloads are offered whatever the
// other port can do: what it cannot is done in between. With several queue pairs MQ
// is offered besides.
//
// RING_RESET is not offered, although nothing is missing here: when a guest resets a ring
// of a vhost-user device, QEMU (11.1) takes it that the ring is reset and tells the back-end
// nothing, neither that it stops nor where it starts again. The back-end goes on by what
// was: it reads the new ring at the old place, and writes to memory that the guest uses for
// something else.
//
// GUEST_ANNOUNCE is not offered. A guest that has it announces itself after a migration,
// in words that its monitor puts in its mouth, and QEMU does not send SEND_RARP then;
// one that has it not we announce. But the feature is void without a control queue, which
// is the monitor's and not ours: a monitor that passes our features on as they are and
// has none would have a guest whose driver refuses the device (5.1.3.1).
const Offered = virtio.Version1 | virtio.NetMrgRxbuf | virtio.IndirectDesc | virtio.EventIdx | virtio.InOrder |
	virtio.RingPacked | virtio.NetOffloads

// Carrier is the transport's side of a session. The session's goroutine calls it.
type Carrier interface {
	// Map gives access to the regions of a memory table. The result is closed when
	// nothing uses it any more, and before the next Map.
	Map(regions []vhostuser.MemoryRegion) (*Memory, error)
	// MapLog gives access to the first need bytes of the front-end's dirty log, which are
	// within it: to one that came with the last SET_LOG_BASE. It is closed when nothing
	// uses it any more, perhaps after a later MapLog.
	MapLog(l vhostuser.Log, need uint64) (*LogMemory, error)
	// Doorbell interrupts the guest for a ring. It returns nil if there is no way
	// to, now.
	Doorbell(ring int) virtionet.Doorbell
	// KickFD becomes readable when the guest kicks a ring; it is negative if there is
	// none.
	KickFD(ring int) int
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
	log     *zap.Logger

	memory  *Memory
	dirty   *dirtyLog // nil: no writes are marked
	pairs   []pair
	rings   []*vring.Device       // two per pair: to the guest, from the guest; nil while a ring is stopped
	running []vhostuser.RingState // as rings[i] was built

	address     *virtionet.Announcement // nil: the guest's address is not known
	saidSurplus bool                    // of queue pairs that the front-end has and we do not
	logRefused  bool                    // the log that the front-end sent last cannot be used
}

// pair is one queue pair.
type pair struct {
	guest   *virtionet.Guest
	changed bool // install is due
	served  bool // what was installed last was not nil

	// Of the first pair, through which its guest is announced.
	announce  *virtionet.Announcement // not yet installed
	announced bool                    // since its transmit ring began to run
}

// New returns a session without a front-end. Rings 2i and 2i+1 become the queues of
// guests[i]; there are 1 to MaxPairs guests, each of which somebody forwards for.
func New(carrier Carrier, cfg vhostuser.BackendConfig, guests []*virtionet.Guest, log *zap.Logger) *Session {
	cfg.Features, cfg.Rings = Offered, 2*len(guests)
	if len(guests) > 1 {
		cfg.Features |= virtio.NetMQ
		cfg.Protocol |= vhostuser.ProtoMQ
	}
	s := &Session{
		carrier: carrier, backend: vhostuser.NewBackend(cfg), log: log,
		rings: make([]*vring.Device, cfg.Rings), running: make([]vhostuser.RingState, cfg.Rings),
	}
	for _, g := range guests {
		s.pairs = append(s.pairs, pair{guest: g})
	}
	return s
}

// SetAddress says which address the guest has, for certain: it is announced behind the
// other port whenever the guest begins to send. Call it before the first message. The
// guest's neighbours there may be others than those that have learned the address, if
// it is the driver VM that was replaced: then the guest has no reason to say anything
// by itself. An address that was only seen in frames would not do, because any guest
// can send from any.
func (s *Session) SetAddress(mac [6]byte) (err error) {
	s.address, err = virtionet.NewAnnouncement(mac)
	return err
}

// Handle carries one message out and returns the reply, if any. An error ends
// the session, except for a *vhostuser.Refusal, which is only logged.
func (s *Session) Handle(m vhostuser.Message) (*vhostuser.Message, error) {
	reply, effects, err := s.backend.Handle(m)
	s.log.Debug("message", zap.Stringer("request", m.Request), zap.Int("size", len(m.Payload)),
		zap.Uint32("flags", m.Flags), zap.Stringers("effects", effects), zap.Error(err))
	for _, e := range effects {
		stopped, failed := s.apply(e)
		s.installChanged()
		switch {
		case stopped != nil:
			reply = stopped
		case failed != nil:
			s.log.Error("cannot serve the front-end", zap.Stringer("request", m.Request), zap.Error(failed))
			if reply != nil && !m.Request.HasReply() {
				nack := vhostuser.Ack(m.Request, 1)
				reply = &nack
			}
			if e.Kind == vhostuser.EffectLog && m.Request == vhostuser.SetLogBase {
				refusal := vhostuser.LogRefused()
				reply = &refusal
			}
			if err == nil && errors.Is(failed, errUnlogged) {
				err = failed
			}
		}
	}
	if err == nil {
		s.checkSurplus(m)
	}
	var refusal *vhostuser.Refusal
	if errors.As(err, &refusal) {
		s.log.Warn("refused a message of the front-end", zap.Error(err))
		err = nil
	}
	return reply, err
}

// checkSurplus says once if the front-end starts a ring beyond ours. GET_QUEUE_NUM
// cannot keep all of them from it: see vhostuser.BackendConfig.Rings.
func (s *Session) checkSurplus(m vhostuser.Message) {
	var v vhostuser.VringFD
	if s.saidSurplus || m.Request != vhostuser.SetVringKick || v.Decode(m.Payload) != nil || int(v.Index) < len(s.rings) {
		return
	}
	s.saidSurplus = true
	s.log.Warn("the front-end has more queue pairs than are served, and the others stand still: give its device fewer (with QEMU, queues=N of -netdev)",
		zap.Int("served", len(s.pairs)), zap.Uint8("ring", v.Index))
}

// apply makes the data path follow one effect. For EffectStop it returns the
// reply that the front-end waits for.
func (s *Session) apply(e vhostuser.Effect) (reply *vhostuser.Message, err error) {
	switch e.Kind {
	case vhostuser.EffectReset:
		s.forget()
		s.stopAll()
		return nil, s.unmap()
	case vhostuser.EffectFeatures:
		features, _ := s.backend.Stray()
		s.log.Info("features negotiated", zap.Stringer("features", s.backend.Features()), zap.Stringer("not offered", features))
		if s.dirty == nil && s.memory != nil {
			err = s.openLog()
		}
		return nil, errors.Join(err, s.restart())
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
	case vhostuser.EffectAnnounce:
		a, err := virtionet.NewAnnouncement(e.MAC())
		if err != nil {
			return nil, err
		}
		s.pairs[0].announce, s.pairs[0].changed = a, true
	case vhostuser.EffectLog:
		return nil, s.relog()
	case vhostuser.EffectMTU:
		s.log.Info("the front-end limits what its guest takes", zap.Uint16("mtu", s.backend.MTU()))
		for i := range s.pairs {
			s.pairs[i].changed = true
		}
	}
	return nil, nil // the MAC in the configuration space concerns nobody here
}

// forget drops what is remembered of one front-end only.
func (s *Session) forget() {
	s.saidSurplus, s.logRefused, s.pairs[0].announce = false, false, nil
}

// stop stops ring i, waits until nothing touches it any more, and returns where
// it stands.
func (s *Session) stop(i int) uint32 {
	q := s.rings[i]
	if q == nil { // it never came to run: its memory or addresses were no good
		return s.backend.Ring(i).Base
	}
	s.rings[i] = nil
	s.install(i / 2)
	s.noteStop()
	s.log.Info("ring stopped", zap.Int("ring", i), zap.Uint16("next avail", q.NextAvail()))
	return q.Position()
}

// stopAll stops every ring and tells the protocol where each stands.
func (s *Session) stopAll() {
	old := slices.Clone(s.rings)
	clear(s.rings)
	for i := range s.pairs {
		s.empty(&s.pairs[i])
	}
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
	for i := range s.rings {
		errs = append(errs, s.follow(i))
	}
	return errors.Join(errs...)
}

// remap replaces the guest's memory and then all rings. The device has swapped
// the BAR already; until the rings are stopped nobody but their owner is at fault.
func (s *Session) remap() error {
	s.stopAll()
	if err := s.unmapMemory(); err != nil {
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
	if err := s.openLog(); err != nil {
		return err
	}
	return s.restart()
}

// unmap lets go of the guest's memory and of the log that goes with it.
func (s *Session) unmap() error { return errors.Join(s.closeLog(), s.unmapMemory()) }

func (s *Session) unmapMemory() error {
	if s.memory == nil {
		return nil
	}
	memory := s.memory
	s.memory = nil
	return memory.Unmap()
}

// follow makes ring i what the protocol says it is. Its pair is installed anew
// whatever has changed, be it the enable flag, the call, or the kick of a ring that
// cannot start: the carrier closes what was replaced.
func (s *Session) follow(i int) error {
	want := s.backend.Ring(i)
	s.pairs[i/2].changed = true
	switch running := s.rings[i] != nil; {
	case running && !want.Ready:
		s.backend.Stopped(i, s.stop(i))
	case running && !samePlace(want, s.running[i]): // only addresses can change while it runs
		s.backend.Stopped(i, s.stop(i))
		return s.start(i)
	case !running && want.Ready && s.memory != nil:
		return s.start(i)
	}
	return nil
}

// samePlace reports whether a ring lies where it did.
func samePlace(a, b vhostuser.RingState) bool {
	return a.Num == b.Num && a.Desc == b.Desc && a.Avail == b.Avail && a.Used == b.Used
}

// installChanged installs the pairs that have changed.
func (s *Session) installChanged() {
	for i := range s.pairs {
		if s.pairs[i].changed {
			s.install(i)
		}
	}
}

// install hands the rings of pair i that run to the forwarder and waits for it.
func (s *Session) install(i int) {
	p, to, from := &s.pairs[i], 2*i, 2*i+1
	features := s.backend.Features()
	q := &virtionet.Queues{
		ToGuest: s.rings[to], FromGuest: s.rings[from],
		ToGuestEnabled: s.backend.Ring(to).Enabled, FromGuestEnabled: s.backend.Ring(from).Enabled,
		MTU:   int(s.backend.MTU()),
		Sends: virtionet.OffloadsToDevice(features), Takes: virtionet.OffloadsToDriver(features),
		ToGuestLog: s.logging(to), FromGuestLog: s.logging(from),
		HeaderLen: virtionet.HeaderSize(features), Mergeable: features.Has(virtio.NetMrgRxbuf),
	}
	for k, call := range []*virtionet.Doorbell{&q.ToGuestCall, &q.FromGuestCall} {
		ring := to + k
		state := s.backend.Ring(ring)
		if fd := s.carrier.KickFD(ring); fd >= 0 && state.HaveKick {
			q.KickFDs = append(q.KickFDs, fd)
		}
		if state.Callable {
			*call = s.carrier.Doorbell(ring)
		}
	}
	if q.ToGuest == nil && q.FromGuest == nil && len(q.KickFDs) == 0 {
		s.empty(p)
		return
	}
	if i == 0 {
		q.Announce = s.introduce(p, q)
	}
	p.changed, p.served = false, true
	p.guest.Install(q)
}

// introduce returns what is to be announced now that q is installed: what the front-end
// asked for, which waits until the guest can send, or the address that is known.
func (s *Session) introduce(p *pair, q *virtionet.Queues) *virtionet.Announcement {
	if q.FromGuest == nil || !q.FromGuestEnabled {
		p.announced = p.announced && q.FromGuest != nil
		return nil
	}
	a := p.announce
	if a == nil && !p.announced {
		a = s.address
	}
	p.announce, p.announced = nil, true
	return a
}

// empty takes a pair's queues away and waits for the forwarder, if it has any.
func (s *Session) empty(p *pair) {
	if p.served {
		p.guest.Install(nil)
	}
	p.changed, p.served, p.announced = false, false, false
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
	s.forget()
	s.stopAll()
	err := s.unmap()
	s.backend.Reset()
	return err
}

// Regions is the memory table in force.
func (s *Session) Regions() []vhostuser.MemoryRegion { return s.backend.Regions() }
