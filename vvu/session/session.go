// Package session makes a forwarder's queues follow what a vhost-user front-end
// sets up. It knows neither device nor socket: a Carrier stands for whatever
// brings the messages and gives access to the front-end's memory and interrupts.
package session

import (
	"errors"
	"slices"
	"sync"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/net/control"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// MaxPairs is the largest number of queue pairs that a session serves.
const MaxPairs = 8

// Offered are the features of the network device that the guest sees. What is
// not listed QEMU then withholds from its guest. Offloads are offered whatever the
// other port can do: what it cannot is done in between. With several queue pairs MQ
// is offered besides, and if there is a ring for it what takes a control queue. MQ is
// void without CTRL_VQ (5.1.3.1): some monitors show their guest what we offer as it is,
// and Linux drives no device that offers the one without the other. QEMU decides about
// the control queue by itself and serves it, and so does cloud-hypervisor; crosvm leaves
// it to us.
//
// RING_RESET is not offered, although nothing is missing here: when a guest resets a ring
// of a vhost-user device, QEMU (11.1) takes it that the ring is reset and tells the back-end
// nothing, neither that it stops nor where it starts again. The back-end goes on by what
// was: it reads the new ring at the old place, and writes to memory that the guest uses for
// something else.
//
// GUEST_ANNOUNCE is not offered. A guest that has it announces itself when its monitor
// asks it to, and QEMU does not send SEND_RARP then; one that has it not we announce. A
// guest whose control queue is ours could not be asked: that takes a change of the
// configuration space, of which vhost-user has no word without a channel of its own.
//
// STATUS is not offered either, for the same reason: a link that goes down ends the
// session. Front-ends that offer it to their guests by themselves read that it is up.
//
// NOTIFY_ON_EMPTY is for guests of before the specification (illumos until 2019, say), some of which
// send nothing any more without it. QEMU shows it to no other guest.
const Offered = virtio.Version1 | virtio.NetMrgRxbuf | virtio.IndirectDesc | virtio.EventIdx | virtio.InOrder |
	virtio.RingPacked | virtio.NotifyOnEmpty | virtio.NetOffloads

// Carrier is the transport's side of a session. The goroutine that handles messages calls
// it, while it does.
type Carrier interface {
	// Map gives access to the regions of a memory table. The result is closed when
	// nothing uses it any more: before the next Map if the table was replaced, and after
	// it if regions were added or removed while rings run on. Of those that both tables
	// have nothing changes.
	Map(regions []vhostuser.MemoryRegion) (*Memory, error)
	// MapLog gives access to the first need bytes of the front-end's dirty log, which are
	// within it: to one that came with the last SET_LOG_BASE. It is closed when nothing
	// uses it any more, perhaps after a later MapLog.
	MapLog(l vhostuser.Log, need uint64) (*LogMemory, error)
	// NewInflight makes size zero bytes, at the start of a file that no one can make
	// shorter, for a front-end that wants memory to track rings in. The file stays the
	// carrier's. MapInflight gives access to size bytes of such memory: of the file that came
	// with the last SET_INFLIGHT_FD.
	NewInflight(size uint64) (fd int, err error)
	MapInflight(offset, size uint64) (*InflightMemory, error)
	// Doorbell interrupts the guest for a ring. It returns nil if there is no way
	// to, now.
	Doorbell(ring int) guest.Doorbell
	// KickFD becomes readable when the guest kicks a ring; it is negative if there is
	// none.
	KickFD(ring int) int
}

// Session holds what one front-end has set up. Its methods belong to one goroutine;
// besides that, the guest's commands are carried out by another one.
type Session struct {
	carrier Carrier
	log     *zap.Logger

	mu      sync.Mutex // guards all below: messages against commands
	backend *vhostuser.Backend
	memory  *Memory
	regions []vhostuser.MemoryRegion // of memory
	dirty   *dirtyLog                // nil: no writes are marked
	flight  *inflight                // nil: rings are not tracked
	pairs   []pair
	rings   []*vring.Device       // two per pair: to the guest, from the guest, and perhaps the control queue; nil while a ring is stopped
	running []vhostuser.RingState // as rings[i] was built
	tracked []bool                // whether it was built to be tracked
	places  []*vring.Place        // where rings[i] is to go on, if it is to move
	awaited []awaited             // by ring
	events  []events              // by ring, as the carrier said when they last changed
	control controlQueue

	address     *guest.Announcement // nil: the guest's address is not known
	saidSurplus bool                // of queue pairs that the front-end has and we do not
	logLeft     bool                // the front-end may have let go of the log that it sent last (see dirtyLog)
}

// pair is one queue pair.
type pair struct {
	guest   *guest.Port
	changed bool // install is due
	served  bool // what was installed last was not nil

	// Of the first pair, through which its guest is announced.
	announce  *guest.Announcement // not yet installed
	announced bool                // since its transmit ring began to run
}

// events are how a ring's guest and we tell each other of what is new in it.
type events struct {
	kick int            // eventfd, or negative
	call guest.Doorbell // or nil
}

// Rings is how many rings a session of so many pairs has if its carrier can carry them:
// two for each and one for the control queue.
func Rings(pairs int) int { return 2*pairs + 1 }

// New returns a session without a front-end. Rings 2i and 2i+1 become the queues of
// guests[i]; there are 1 to MaxPairs guests, each of which someone forwards for.
// cfg.Rings is how many rings the carrier can carry, 2*len(guests) at least: of more the
// next is for a control queue. 0 means as many as Rings says.
func New(carrier Carrier, cfg vhostuser.BackendConfig, guests []*guest.Port, log *zap.Logger) *Session {
	if cfg.Rings == 0 {
		cfg.Rings = Rings(len(guests))
	}
	cfg.Rings = min(cfg.Rings, Rings(len(guests)))
	cfg.Features = Offered
	cfg.Protocol |= vhostuser.ProtoConfig | vhostuser.ProtoMQ // Dragonball and alioth want the latter in any case
	if len(guests) > 1 {
		cfg.Features |= virtio.NetMQ | virtio.NetCtrlVQ
	}
	if cfg.Rings > 2*len(guests) {
		cfg.Features |= control.Features
	}
	s := &Session{
		carrier: carrier, backend: vhostuser.NewBackend(cfg), log: log,
		rings: make([]*vring.Device, cfg.Rings), running: make([]vhostuser.RingState, cfg.Rings), tracked: make([]bool, cfg.Rings),
		places: make([]*vring.Place, cfg.Rings), awaited: make([]awaited, cfg.Rings),
		events: slices.Repeat([]events{{kick: -1}}, cfg.Rings),
	}
	for _, g := range guests {
		s.pairs = append(s.pairs, pair{guest: g})
	}
	return s
}

// SetAddress says which address the guest has, for certain: it is announced after the
// other port whenever the guest begins to send. Call it before the first message. The
// guest's neighbours there may be others than those that have learned the address, if
// it is the driver VM that was replaced: then the guest has no reason to say anything
// by itself. An address that was only seen in frames would not do, because any guest
// can send from any. A guest whose monitor has no address of its own for it is given this
// one, and may not take another.
func (s *Session) SetAddress(mac [6]byte) (err error) {
	if s.address, err = guest.NewAnnouncement(mac); err == nil {
		s.backend.FixMAC(mac)
	}
	return err
}

// Handle carries one message out and returns the reply, if any. An error ends
// the session, except for a *vhostuser.Refusal, which is only logged.
func (s *Session) Handle(m vhostuser.Message) (*vhostuser.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
			if e.Kind == vhostuser.EffectInflightNew {
				none := vhostuser.NewReply(m.Request, vhostuser.Inflight{})
				reply = &none
			}
			if reply != nil && e.Kind == vhostuser.EffectLog {
				refusal := vhostuser.LogRefused(*reply)
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
		s.log.Warn("refused a message from the front-end", zap.Error(err))
		err = nil
	}
	return reply, err
}

// checkSurplus says once if the front-end starts a ring beyond ours. GET_QUEUE_NUM
// cannot keep all of them from it: see vhostuser.BackendConfig.Rings.
func (s *Session) checkSurplus(m vhostuser.Message) {
	var v vhostuser.VringFD
	if s.saidSurplus || m.Request != vhostuser.SetVringKick || v.Decode(m.Payload) != nil ||
		int(v.Index) < 2*len(s.pairs) || int(v.Index) == s.controlRing() {
		return
	}
	s.saidSurplus = true
	s.log.Warn("the front-end has more queue pairs than are served, and the others are not served: give its device fewer (with QEMU, queues=N of -netdev)",
		zap.Int("served", len(s.pairs)), zap.Uint8("ring", v.Index))
}

// apply makes the data path follow one effect. For EffectStop it returns the
// reply that the front-end waits for.
func (s *Session) apply(e vhostuser.Effect) (reply *vhostuser.Message, err error) {
	switch e.Kind {
	case vhostuser.EffectReset:
		s.forget()
		s.leave()
		return nil, s.unmap()
	case vhostuser.EffectFeatures:
		features, _ := s.backend.Stray()
		s.log.Info("features negotiated", zap.Stringer("features", s.backend.Features()), zap.Stringer("not offered", features))
		s.pauseAll() // before rings get other roles
		if s.memory != nil && s.backend.Logging() != (s.dirty != nil) {
			if err := s.openLog(); err != nil {
				return nil, err
			}
		}
		s.control.renegotiate(s)
		return nil, s.followAll()
	case vhostuser.EffectMemory:
		return nil, s.remap()
	case vhostuser.EffectRegions:
		return nil, s.amend()
	case vhostuser.EffectRing:
		return nil, s.follow(e.Index)
	case vhostuser.EffectStop:
		m := s.backend.Stopped(e.Index, s.stop(e.Index))
		return &m, nil
	case vhostuser.EffectSignal:
		if bell := s.events[e.Index].call; bell != nil {
			bell.Ring()
		}
	case vhostuser.EffectAnnounce:
		a, err := guest.NewAnnouncement(e.MAC())
		if err != nil {
			return nil, err
		}
		s.pairs[0].announce, s.pairs[0].changed = a, true
	case vhostuser.EffectInflightNew:
		return s.newInflight()
	case vhostuser.EffectInflight:
		return nil, s.setInflight()
	case vhostuser.EffectLog:
		s.logLeft = false
		return nil, s.relog(true)
	case vhostuser.EffectLogging:
		return nil, s.relog(false)
	case vhostuser.EffectConfig:
		s.control.filter(s)
	case vhostuser.EffectMTU:
		s.log.Info("the front-end limits what its guest takes", zap.Uint16("mtu", s.backend.MTU()))
		for i := range s.pairs {
			s.pairs[i].changed = true
		}
	}
	return nil, nil
}

// forget drops what is remembered of one front-end only.
func (s *Session) forget() {
	s.saidSurplus, s.logLeft, s.pairs[0].announce = false, false, nil
	s.control.forget(s)
}

// stop stops ring i, waits until nothing touches it any more, and returns where
// it stands.
func (s *Session) stop(i int) uint32 {
	q := s.rings[i]
	if q == nil { // it never came to run: its memory or addresses were no good
		s.noteStop()
		return s.backend.Ring(i).Base
	}
	s.rings[i] = nil
	if p := s.pairOf(i); p >= 0 {
		s.install(p)
	} else {
		s.control.stop()
	}
	s.noteStop()
	s.log.Info("ring stopped", zap.Int("ring", i), zap.Uint16("next avail", q.NextAvail()))
	return q.Position()
}

// pauseAll takes every ring away for a moment and tells the protocol where each stands.
// The pairs are to be installed again; until then frames for the guest wait.
func (s *Session) pauseAll() {
	s.control.stop()
	for i := range s.pairs {
		if s.rings[2*i] != nil || s.rings[2*i+1] != nil {
			s.pairs[i].guest.Pause()
			s.pairs[i].changed = true
		}
	}
	for i, q := range s.rings {
		if q != nil {
			s.backend.Stopped(i, q.Position())
		}
	}
	clear(s.rings)
}

// leave takes everything away from the forwarder: the guest is gone. It tells the protocol
// where each ring stood.
func (s *Session) leave() {
	s.control.stop()
	for i := range s.pairs {
		s.empty(&s.pairs[i])
	}
	for i, q := range s.rings {
		if q != nil {
			s.backend.Stopped(i, q.Position())
		}
	}
	clear(s.rings)
	clear(s.awaited)
}

// followAll makes every ring what the protocol says it is.
func (s *Session) followAll() error {
	var errs []error
	for i := range s.rings {
		errs = append(errs, s.follow(i))
	}
	return errors.Join(errs...)
}

// follow makes ring i what the protocol says it is. Its pair is installed again
// whatever has changed, be it the enable flag, the call, or the kick of a ring that
// cannot start: the carrier closes what was replaced.
func (s *Session) follow(i int) error {
	want := s.backend.Ring(i)
	s.events[i] = events{kick: -1}
	if want.HaveKick {
		s.events[i].kick = s.carrier.KickFD(i)
	}
	if want.Callable {
		s.events[i].call = s.carrier.Doorbell(i)
	}
	s.touch(i)
	if i == s.controlRing() {
		defer s.control.attend(s)
	}
	switch running := s.rings[i] != nil; {
	case running && !want.Ready:
		s.backend.Stopped(i, s.stop(i))
	case running && !samePlace(want, s.running[i]): // only addresses can change while it runs
		s.backend.Stopped(i, s.stop(i))
		return s.start(i)
	case !running && want.Ready && s.memory != nil && s.hasRole(i):
		return s.start(i)
	}
	return nil
}

// samePlace reports whether a ring lies where it did.
func samePlace(a, b vhostuser.RingState) bool {
	return a.Num == b.Num && a.Desc == b.Desc && a.Avail == b.Avail && a.Used == b.Used
}

// MTU is the largest packet that the guest takes, in bytes; 0: the front-end has not said.
func (s *Session) MTU() uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backend.MTU()
}

// Regions is the memory table in force.
func (s *Session) Regions() []vhostuser.MemoryRegion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backend.Regions()
}
