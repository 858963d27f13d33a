package vvu

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// offered are the features of the network device that the guest sees. What is
// not listed, offloads in particular, QEMU then withholds from its guest.
const offered = virtio.Version1 | virtio.NetMrgRxbuf | virtio.IndirectDesc | virtio.EventIdx

// offeredProtocol are the protocol features that we can serve. The device lets
// through what it can carry: QEMU's own takes away all of them.
const offeredProtocol = vhostuser.ProtoReplyAck | vhostuser.ProtoStatus | vhostuser.ProtoResetDevice

// session holds what one front-end has set up, and makes the forwarder's queues
// follow the protocol's state. It belongs to the endpoint's goroutine.
type session struct {
	device  *Device
	backend *vhostuser.Backend
	guest   *virtionet.Guest
	log     *zap.Logger

	memory  *peerMemory
	rings   [Rings]*vring.Device
	running [Rings]vhostuser.RingState // as rings[i] was built
}

// handle carries one message out and returns the reply, if any. An error ends
// the session, except for a *vhostuser.Refusal, which is only logged.
func (s *session) handle(m vhostuser.Message) (*vhostuser.Message, error) {
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
func (s *session) apply(e vhostuser.Effect) (reply *vhostuser.Message, err error) {
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
		m := s.backend.Stopped(e.Index, uint32(s.stop(e.Index)))
		return &m, nil
	case vhostuser.EffectSignal:
		bell, err := s.device.doorbell(e.Index)
		if err == nil {
			bell.Ring()
		}
		return nil, err
	}
	return nil, nil // MTU, announcements and the MAC concern nobody here
}

// position is where ring i goes on: where it stands, or where the front-end said.
func (s *session) position(i int) uint16 {
	if s.rings[i] != nil {
		return s.rings[i].NextAvail()
	}
	return uint16(s.backend.Ring(i).Base)
}

// stop stops ring i, waits until nothing touches it any more, and returns its
// position.
func (s *session) stop(i int) uint16 {
	old := s.rings[i]
	if old == nil {
		return s.position(i)
	}
	s.rings[i] = nil
	s.install()
	s.log.Info("ring stopped", zap.Int("ring", i), zap.Uint16("next avail", old.NextAvail()))
	return old.NextAvail()
}

// stopAll stops every ring and tells the protocol where each stands.
func (s *session) stopAll() {
	old := s.rings
	s.rings = [Rings]*vring.Device{}
	s.guest.Install(nil)
	for i, q := range old {
		if q != nil {
			s.backend.Stopped(i, uint32(q.NextAvail()))
		}
	}
}

// restart builds all rings anew where they stand.
func (s *session) restart() error {
	s.stopAll()
	var errs []error
	for i := range Rings {
		errs = append(errs, s.follow(i))
	}
	return errors.Join(errs...)
}

// remap replaces the guest's memory and then all rings. The device has swapped
// the BAR already; until the rings are stopped nobody but their owner is at fault.
func (s *session) remap() error {
	s.stopAll()
	if err := s.unmap(); err != nil {
		return err
	}
	regions := s.backend.Regions()
	memory, err := s.device.mapMemory(regions)
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

func (s *session) unmap() error {
	memory := s.memory
	s.memory = nil
	return memory.close()
}

// follow makes ring i what the protocol says it is.
func (s *session) follow(i int) error {
	want := s.backend.Ring(i)
	switch running := s.rings[i] != nil; {
	case running && !want.Ready:
		s.backend.Stopped(i, uint32(s.stop(i)))
		return nil
	case running && !samePlace(want, s.running[i]): // only addresses can change while it runs
		s.backend.Stopped(i, uint32(s.stop(i)))
		return s.start(i)
	case !running && want.Ready && s.memory != nil:
		return s.start(i)
	}
	s.install() // enable flag or call
	return nil
}

func samePlace(a, b vhostuser.RingState) bool {
	return a.Num == b.Num && a.Desc == b.Desc && a.Avail == b.Avail && a.Used == b.Used
}

// start builds ring i from the addresses that the front-end gave.
func (s *session) start(i int) error {
	state, features := s.backend.Ring(i), s.backend.Features()
	cfg := vring.DeviceConfig{
		Size: int(state.Num), Mem: s.memory.table, NextAvail: uint16(state.Base),
		EventIdx: features.Has(virtio.EventIdx), Indirect: features.Has(virtio.IndirectDesc),
	}
	var ok [3]bool
	cfg.Desc, ok[0] = s.memory.table.FromUser(state.Desc, uint64(vring.TableBytes(cfg.Size)))
	cfg.Avail, ok[1] = s.memory.table.FromUser(state.Avail, uint64(vring.AvailBytes(cfg.Size)))
	cfg.Used, ok[2] = s.memory.table.FromUser(state.Used, uint64(vring.UsedBytes(cfg.Size)))
	for k, name := range []string{"descriptor table", "avail ring", "used ring"} {
		if !ok[k] {
			return fmt.Errorf("ring %d: its %s is not in the memory that the front-end shares", i, name)
		}
	}
	q, err := vring.NewDevice(cfg)
	if err != nil {
		return fmt.Errorf("ring %d: %w", i, err)
	}
	s.rings[i], s.running[i] = q, state
	s.install()
	s.log.Info("ring started", zap.Int("ring", i), zap.Int("size", cfg.Size), zap.Uint16("next avail", cfg.NextAvail), zap.Bool("enabled", state.Enabled))
	return nil
}

// install hands the rings that run to the forwarder and waits for it.
func (s *session) install() {
	features := s.backend.Features()
	q := &virtionet.Queues{
		ToGuest: s.rings[0], FromGuest: s.rings[1],
		ToGuestEnabled: s.backend.Ring(0).Enabled, FromGuestEnabled: s.backend.Ring(1).Enabled,
		HeaderLen: virtionet.HeaderSize(features), Mergeable: features.Has(virtio.NetMrgRxbuf),
	}
	for i, call := range []*virtionet.Doorbell{&q.ToGuestCall, &q.FromGuestCall} {
		if !s.backend.Ring(i).Callable {
			continue
		}
		if bell, err := s.device.doorbell(i); err == nil { // Open has checked that they exist
			*call = bell
		}
	}
	s.guest.Install(q)
}

// bounce ends a session as far as the device has ended it: rings stand still,
// memory is gone, and what was negotiated stays until it is clear that another
// front-end has come (see vhostuser.Backend).
func (s *session) bounce() error {
	s.stopAll()
	err := s.unmap()
	s.backend.Bounce()
	return err
}
