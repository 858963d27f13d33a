package vhostuser

import "vvufwd/virtio"

// ringOf returns the ring with the 32-bit index that a message carries, checked
// in full: an index cut to its low bits would reach a ring that was not meant.
func (b *Backend) ringOf(m Message, index uint32) (*ring, error) {
	if index >= MaxRings {
		return nil, violate(m, "ring index %d, want less than %d", index, MaxRings)
	}
	return &b.rings[index], nil
}

// vringState decodes a ring state message and finds its ring.
func (b *Backend) vringState(m Message) (VringState, *ring, error) {
	var v VringState
	if err := v.Decode(m.Payload); err != nil {
		return v, nil, violate(m, "%v", err)
	}
	r, err := b.ringOf(m, v.Index)
	return v, r, err
}

// touch adds an EffectRing if ring index is served.
func (b *Backend) touch(out *outcome, index uint32) {
	if int(index) < b.cfg.Rings {
		out.add(EffectRing, int(index))
	}
}

// halt halts a ring, and adds an EffectRing if it had a kick or a call.
func (b *Backend) halt(out *outcome, index uint32) {
	r := &b.rings[index]
	if r.haveKick || r.callable {
		b.touch(out, index)
	}
	r.halt()
}

// setVringNum stores the size of a ring that does not run. One that is disabled begins anew: alioth and
// libkrun disable the rings of a guest that has reset its device, and never ask where they stand.
func (b *Backend) setVringNum(m Message, out *outcome) error {
	v, r, err := b.vringState(m)
	if err != nil {
		return err
	}
	ready := r.ready(b.features)
	switch {
	case ready && r.state(b.features).Enabled:
		return refuse(m, "ring %d is running; GET_VRING_BASE must stop it first", v.Index)
	case v.Num == 0 || v.Num > uint32(b.cfg.MaxQueueSize):
		return refuse(m, "ring %d: size %d, want 1 to %d", v.Index, v.Num, b.cfg.MaxQueueSize)
	case !b.features.Has(virtio.RingPacked) && v.Num&(v.Num-1) != 0:
		return refuse(m, "ring %d: size %d of a split ring is not a power of two", v.Index, v.Num)
	}
	r.num = v.Num
	if ready { // its kick and its call may be new ones already
		r.haveAddr = false
	}
	if ready || r.ready(b.features) {
		b.touch(out, v.Index)
	}
	return nil
}

func (b *Backend) setVringBase(m Message, _ *outcome) error {
	v, r, err := b.vringState(m)
	if err != nil {
		return err
	}
	if r.ready(b.features) {
		return refuse(m, "ring %d is running; GET_VRING_BASE must stop it first", v.Index)
	}
	r.base, r.held = v.Num, false
	return nil
}

// setVringAddr stores the addresses; they are translated when the ring starts. A
// running ring may get new ones (toggling of logging sends them again).
func (b *Backend) setVringAddr(m Message, out *outcome) error {
	var v VringAddr
	if err := v.Decode(m.Payload); err != nil {
		return violate(m, "%v", err)
	}
	r, err := b.ringOf(m, v.Index)
	if err != nil {
		return err
	}
	changed := !r.haveAddr || r.addr != v
	r.addr, r.haveAddr = v, true
	if changed && r.ready(b.features) {
		b.touch(out, v.Index)
	}
	return nil
}

// getVringBase stops a ring and asks where it stands. A ring that runs is the
// data path's to stop, which answers through Stopped; any other is answered
// with what is stored, be it a ring that we do not serve or one of a session
// that a restarted driver never saw: a front-end left without an answer hangs.
func (b *Backend) getVringBase(m Message, out *outcome) error {
	v, r, err := b.vringState(m)
	if err != nil {
		return err
	}
	running := r.ready(b.features) && int(v.Index) < b.cfg.Rings
	if running {
		r.halt()
		out.add(EffectStop, int(v.Index))
		return nil
	}
	b.halt(out, v.Index)
	out.answer(m.Request, VringState{Index: v.Index, Num: r.base})
	return nil
}

// Stopped records that ring index has stopped at base and returns the answer to
// the GET_VRING_BASE that asked for it. For a split ring base is the next avail
// index, for a packed one both indexes with their wrap bits. A ring that never
// came to run in the data path stands at Ring(index).Base. Outside EffectStop
// (see Bounce) the reply is not to be sent.
func (b *Backend) Stopped(index int, base uint32) Message {
	if uint(index) < MaxRings && b.rings[index].num != 0 { // else RESET_DEVICE has stopped it: it begins anew
		b.rings[index].base, b.rings[index].held = base, true
	}
	return NewReply(GetVringBase, VringState{Index: uint32(index), Num: base})
}

// vringFD decodes a kick or call message and finds its ring.
func (b *Backend) vringFD(m Message) (VringFD, *ring, error) {
	var v VringFD
	if err := v.Decode(m.Payload); err != nil {
		return v, nil, violate(m, "%v", err)
	}
	if want := fdCount(v); b.cfg.PassesFDs && len(m.FDs) != want {
		return v, nil, violate(m, "ring %d: carries %d file descriptors, want %d", v.Index, len(m.FDs), want)
	}
	return v, &b.rings[v.Index], nil
}

func fdCount(v VringFD) int {
	if v.NoFD {
		return 0
	}
	return 1
}

// setVringKick makes a ring ready that has its size and addresses. On a running
// ring it only replaces the descriptor: positions stay.
func (b *Backend) setVringKick(m Message, out *outcome) error {
	v, r, err := b.vringFD(m)
	if err != nil {
		return err
	}
	r.haveKick, r.kickNoFD = true, v.NoFD
	b.touch(out, uint32(v.Index))
	return nil
}

// setVringCall says how the guest is interrupted. QEMU sends it after KICK, when
// the ring may have used buffers already, hence EffectSignal.
func (b *Backend) setVringCall(m Message, out *outcome) error {
	v, r, err := b.vringFD(m)
	if err != nil {
		return err
	}
	r.callable = !v.NoFD
	b.touch(out, uint32(v.Index))
	if r.callable && r.ready(b.features) && int(v.Index) < b.cfg.Rings {
		out.add(EffectSignal, int(v.Index))
	}
	return nil
}

// setVringEnable stores the flag, also for rings that nothing else is known of
// yet: QEMU sends it long before the first start, even before SET_FEATURES.
func (b *Backend) setVringEnable(m Message, out *outcome) error {
	v, r, err := b.vringState(m)
	if err != nil {
		return err
	}
	if v.Num > 1 {
		return refuse(m, "ring %d: enable value %d, want 0 or 1", v.Index, v.Num)
	}
	before := r.state(b.features).Enabled
	r.enabled = v.Num == 1
	if r.state(b.features).Enabled != before {
		b.touch(out, v.Index)
	}
	return nil
}

// setVringEndian accepts what is so anyway: little-endian rings.
func (b *Backend) setVringEndian(m Message, _ *outcome) error {
	v, _, err := b.vringState(m)
	switch {
	case err != nil:
		return err
	case v.Num != 0:
		return refuse(m, "ring %d: endianness %d, only little-endian (0) is supported", v.Index, v.Num)
	}
	return nil
}
