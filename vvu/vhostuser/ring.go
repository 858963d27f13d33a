package vhostuser

import "vvufwd/virtio"

// RingState is what the front-end has said about one ring. Addresses are as
// sent: the user must translate and check them against the memory table.
type RingState struct {
	Num  uint32 // entries; 0 before SET_VRING_NUM, else within the configured limit and, for split rings, a power of two
	Base uint32 // where to go on: next avail index (split), or both indexes with their wrap bits (packed)
	Held bool   // Base is where the ring stopped, and the front-end has said nothing else since

	Desc, Avail, Used uint64 // user addresses (IOVAs with ACCESS_PLATFORM)
	Log               uint64 // guest-physical address for dirty logging, with VringAddrLog in Flags
	Flags             uint32 // VringAddr.Flags

	// Enabled is the effective enable state: always true unless
	// VHOST_USER_F_PROTOCOL_FEATURES was negotiated, else what SET_VRING_ENABLE
	// said last. A Ready ring that is not enabled runs, but a receive queue gets
	// no packets and packets from a transmit queue are thrown away.
	Enabled bool

	HaveKick bool // SET_VRING_KICK was seen since the ring was last stopped
	KickNoFD bool // the guest's kicks cannot be heard: poll

	// Callable is whether a SET_VRING_CALL with a notifier is in force. When
	// false an interrupt would reach no one; when it becomes true on a Ready ring
	// EffectSignal follows, so skipping interrupts meanwhile loses none. Whether
	// the guest wants an interrupt follows from the ring alone.
	Callable bool

	// Ready is whether the ring is to run: NUM, ADDR and KICK were seen since
	// what they replace, the base being 0 unless set. The first interrupt
	// decision after a ring became Ready must always be "yes".
	Ready bool
}

// ring is the machine's own record of a ring.
type ring struct {
	num, base uint32
	held      bool // base is as Stopped said
	addr      VringAddr
	haveAddr  bool
	enabled   bool // as SET_VRING_ENABLE said
	haveKick  bool
	kickNoFD  bool
	callable  bool
}

// ready reports whether the ring is to run. A size that was set when packed rings
// were negotiated may not do for a split one.
func (r *ring) ready(features virtio.Features) bool {
	sizeOK := r.num != 0 && (features.Has(virtio.RingPacked) || r.num&(r.num-1) == 0)
	return sizeOK && r.haveAddr && r.haveKick
}

// halt forgets what ends when a ring stops: its kick and its call. Size,
// addresses and the enable flag stay; the front-end may send them again.
func (r *ring) halt() { r.haveKick, r.kickNoFD, r.callable = false, false, false }

func (r *ring) state(features virtio.Features) RingState {
	base := r.base
	if !features.Has(virtio.RingPacked) {
		base &= 0xffff
	}
	return RingState{
		Num: r.num, Base: base, Held: r.held,
		Desc: r.addr.Desc, Avail: r.addr.Avail, Used: r.addr.Used, Log: r.addr.Log, Flags: r.addr.Flags,
		Enabled:  r.enabled || !features.Has(virtio.ProtocolFeatures),
		HaveKick: r.haveKick, KickNoFD: r.kickNoFD, Callable: r.callable,
		Ready: r.ready(features),
	}
}
