package vhostuser

import (
	"errors"
	"slices"

	"vvufwd/virtio"
)

// Backend is the state machine of a vhost-user back-end for a network device.
// It is pure: it reads messages and writes replies and effects, and touches
// neither memory nor file descriptors. It is not safe for concurrent use; the
// goroutine that handles the messages owns it.
//
// # Errors
//
// Handle distinguishes two kinds. A [Refusal] concerns one message; the session
// goes on. A [Violation] ends the session: Handle has dropped rings and memory
// (the effects say so) and the machine is faulted. A caller that can close the
// channel does so, and calls Reset for the next peer. A caller that cannot (a
// virtio-vhost-user device keeps its socket open whatever the driver does)
// keeps handling messages: a faulted machine answers every question, so that no
// front-end waits for ever with its guest frozen, refuses everything else, and
// recovers when a new owner appears (SET_OWNER), or at the next Bounce.
//
// Effects are to be applied, and a reply is to be sent, whether or not there is
// an error.
//
// # Sessions and the bouncing status
//
// A session is normally as long as a connection, and Reset starts one. Behind
// the virtio-vhost-user device of the 2019 QEMU fork that does not hold. That
// device drops its "connected" status whenever the front-end sends a request it
// does not know, but leaves the socket open; once the driver sets its status
// again the same byte stream goes on at the next message. QEMU since about 7
// sends such a request (SET_VRING_ERR, 14) for every ring when it connects. Two
// rings, QEMU 10 and 11:
//
//	1 15 16 [17] 3 1  13(0) 14(0)   -> drop, driver comes back
//	13(1) 14(1)                     -> drop, driver comes back
//	18 1 18 1 …                     the guest boots; 2 5, then 8 10 9 12 13 per ring
//
// With more queue pairs the stream goes on with 1 15 16 1 13(2) 14(2) after the
// second drop, without a second 3.
//
// What such a drop loses is the rejected message, which we would have ignored,
// and all kick and call descriptors, which the device closed. At this point
// only calls have been sent, and every start sends KICK and CALL again. So
// nothing is missing as long as the driver remembers the owner and the features
// of both kinds, and that is what Bounce keeps, with the rings' sizes,
// positions, addresses and enable flags. It drops the kicks and calls, and the
// memory table: the device keeps the old mapping until the next SET_MEM_TABLE,
// but if the status fell because the peer is gone that memory is a stranger's.
// A front-end whose rings were running when its session bounced cannot go on
// before its guest restarts the device (no one sends the kicks again); then it
// stops each ring (GET_VRING_BASE, answered from what was kept) and sends
// everything.
//
// The same status change announces a really new front-end, and nothing on the
// wire marks the difference at once. GET_FEATURES and GET_PROTOCOL_FEATURES
// open a new session with some front-ends, but they also open the second queue
// pair of an old one, and GET_FEATURES is QEMU's barrier after every
// SET_VRING_ENABLE. Both only ask, so they need no decision. SET_OWNER decides:
// it is sent once per connection, by every front-end, before it sends anything
// that a remnant could disturb, and never by one that merely goes on. So the
// first SET_OWNER after a Bounce drops the old session's state, except protocol
// features that were set since the Bounce, for QEMU sends 16 before 3. The one
// front-end that reconnects without SET_OWNER, DPDK virtio-user as server,
// disables and stops all rings and renegotiates, which overwrites the remnant.
// Outside such a doubt SET_OWNER changes nothing, however often it comes.
type Backend struct {
	cfg BackendConfig

	features virtio.Features  // acknowledged by SET_FEATURES
	protocol ProtocolFeatures // acknowledged by SET_PROTOCOL_FEATURES

	// Bits that the front-end acknowledged though they were not offered.
	strayFeatures virtio.Features
	strayProtocol ProtocolFeatures

	regions []MemoryRegion
	log     Log // the dirty log, if haveLog
	haveLog bool
	rings   [MaxRings]ring

	tracking Inflight
	status   uint8
	mtu      uint16
	config   netConfig

	doubtful      bool       // the session may have ended: SET_OWNER starts a new one
	protocolSet   bool       // SET_PROTOCOL_FEATURES was seen in this session
	protocolFresh bool       // it was seen since the doubt began
	fault         *Violation // the session is over
}

// NewBackend returns a back-end that waits for its first session.
func NewBackend(cfg BackendConfig) *Backend {
	b := &Backend{cfg: cfg.withDefaults()}
	b.Reset()
	return b
}

// Reset forgets everything about the session. Call it for a new connection; the
// caller's rings must have stopped.
func (b *Backend) Reset() {
	*b = Backend{cfg: b.cfg, mtu: b.cfg.MTU, config: newNetConfig(b.cfg)}
}

// Bounce tells the machine that the device's connection status fell. The caller
// has stopped, or stops now, all rings, reports where each stood with Stopped
// (dropping the reply), unmaps the memory, and goes on with the next message as
// if nothing had happened: whether it continues the session or begins a new one
// is found out here. A fault is forgiven.
func (b *Backend) Bounce() {
	b.dropAccess()
	b.fault = nil
	b.doubtful, b.protocolFresh = true, false
}

// ForgetMemory drops the memory table after the caller found that it cannot map
// what the front-end announced. It then answers with a failure, see [Ack].
func (b *Backend) ForgetMemory() { b.regions = nil }

// RestoreMemory is ForgetMemory for one region that was added (EffectRegions): the table
// is again what it was before, and the rings that lie in it run on.
func (b *Backend) RestoreMemory(before []MemoryRegion) { b.regions = before }

// Features returns the virtio features that are in force, bit 30 included.
func (b *Backend) Features() virtio.Features { return b.features }

// Protocol returns the protocol features that are in force.
func (b *Backend) Protocol() ProtocolFeatures { return b.protocol }

// Stray returns the bits that the front-end acknowledged last although they had
// not been offered. They are not in force; they are here to be logged.
func (b *Backend) Stray() (virtio.Features, ProtocolFeatures) {
	return b.strayFeatures, b.strayProtocol
}

// Regions returns a copy of the memory table, in the order in which the
// front-end sent it: that order decides where regions lie in a
// virtio-vhost-user device's BAR. Its regions are not empty, do not wrap in any
// of their address spaces and do not overlap, neither in guest-physical nor in
// user addresses.
func (b *Backend) Regions() []MemoryRegion { return slices.Clone(b.regions) }

// Rings returns how many rings are served.
func (b *Backend) Rings() int { return b.cfg.Rings }

// Ring returns the state of ring i; the zero state for an index out of range.
func (b *Backend) Ring(i int) RingState {
	if uint(i) >= MaxRings {
		return RingState{}
	}
	return b.rings[i].state(b.features)
}

// MTU returns the MTU in force: the configured one until NET_SET_MTU; 0 if none.
func (b *Backend) MTU() uint16 { return b.mtu }

// MAC returns the address in the configuration space, which SET_CONFIG and SetMAC can
// change; zero if there is none.
func (b *Backend) MAC() [6]byte { return b.config.mac() }

// SetMAC changes the address in the configuration space, because the guest has set it in
// another way (its control queue). It returns false, and does nothing, if the address is
// fixed and another one.
func (b *Backend) SetMAC(mac [6]byte) bool {
	if b.cfg.FixedMAC && mac != b.cfg.MAC {
		return false
	}
	copy(b.config[netConfigMAC:], mac[:])
	return true
}

// FixMAC gives every guest this address, which is offered, and keeps it from setting
// another one. Call it before the first message.
func (b *Backend) FixMAC(mac [6]byte) {
	b.cfg.MAC, b.cfg.FixedMAC = mac, true
	b.cfg = b.cfg.withDefaults()
	b.config = newNetConfig(b.cfg)
}

// offered is what GET_FEATURES answers. Whoever is offered MTU takes it from the
// configuration space, unless its monitor has one of its own: a front-end that does not
// read ours (it has not acknowledged CONFIG), QEMU for one, may have told its device an
// MTU and withholds it from its guest if we do not offer the feature. Any other is
// offered it only if there is one to be read (5.1.4.1: 68 or more). So what is offered
// can depend on the protocol features, which front-ends negotiate before they ask for
// the last time.
func (b *Backend) offered() virtio.Features {
	f := b.cfg.Features
	if b.mtu == 0 && !(b.protocolSet && !b.protocol.Has(ProtoConfig)) {
		f &^= virtio.NetMTU
	}
	return f
}

// Status returns the virtio device status that SET_STATUS stored.
func (b *Backend) Status() uint8 { return b.status }

// Fault returns the violation that ended the session, or nil.
func (b *Backend) Fault() error {
	if b.fault == nil {
		return nil
	}
	return b.fault
}

// outcome collects what a handler has to say.
type outcome struct {
	reply   *Message
	effects []Effect
}

func (o *outcome) answer(r Request, p Payload) {
	m := NewReply(r, p)
	o.reply = &m
}

func (o *outcome) add(kind EffectKind, index int) {
	o.effects = append(o.effects, Effect{Kind: kind, Index: index})
}

// Handle carries out one message. The caller applies the effects in order, then
// sends the reply if there is one, then minds the error, which is nil, a
// *Refusal or a *Violation. When applying an effect fails and the reply is an
// acknowledgement, the caller sends Ack(m.Request, 1) instead.
//
// The file descriptors of m stay the caller's; Handle at most counts them.
func (b *Backend) Handle(m Message) (*Message, []Effect, error) {
	var out outcome
	err := b.dispatch(m, &out)
	var v *Violation
	if errors.As(err, &v) {
		b.dropAccess()
		b.fault, b.protocolFresh = v, false
		out.effects = []Effect{{Kind: EffectReset}}
	}
	if out.reply == nil {
		b.conclude(m, err, &out)
	}
	return out.reply, out.effects, err
}

// dispatch checks a message's form and hands it to its handler.
func (b *Backend) dispatch(m Message, out *outcome) error {
	if b.fault != nil {
		return b.handleFaulted(m, out)
	}
	h, known := handlers[m.Request]
	switch {
	case m.Flags&VersionMask != Version:
		return violate(m, "protocol version %d, want %d", m.Flags&VersionMask, Version)
	case m.Flags&FlagReply != 0:
		return violate(m, "a reply to no request")
	case !known:
		return violate(m, "unknown or unsupported request")
	case !b.cfg.Protocol.Has(h.needs):
		return violate(m, "needs protocol feature %v, which was not offered", h.needs)
	case h.size != anySize && len(m.Payload) != h.size:
		return violate(m, "payload is %d bytes, want %d", len(m.Payload), h.size)
	case b.cfg.PassesFDs && !h.fds && len(m.FDs) != 0:
		return violate(m, "carries %d file descriptors, want none", len(m.FDs))
	}
	return h.do(b, m, out)
}

// handleFaulted serves a session that a violation has ended: questions are
// answered, a new owner starts afresh, all else is refused.
func (b *Backend) handleFaulted(m Message, out *outcome) error {
	if h, known := handlers[m.Request]; known && m.Flags&(VersionMask|FlagReply) == Version && len(m.Payload) == h.size {
		switch m.Request {
		case SetOwner, GetFeatures, GetProtocolFeatures, GetQueueNum, GetVringBase:
			return h.do(b, m, out)
		}
	}
	return refuse(m, "the session has failed: %s", b.fault.Reason)
}

// conclude gives a message that has no reply yet the one that its sender waits
// for, if any: an acknowledgement, or after an error an empty answer.
func (b *Backend) conclude(m Message, err error, out *outcome) {
	switch {
	case m.Flags&FlagReply != 0:
		// The peer's mistake; it cannot wait for a reply to a reply.
	case m.Request.HasReply():
		if err != nil {
			out.answer(m.Request, emptyAnswer(m))
		}
	case m.NeedsReply() && b.protocol.Has(ProtoReplyAck):
		code := U64(0)
		if err != nil {
			code = 1
		}
		out.answer(m.Request, code)
	}
}

// emptyAnswer is the answer of the right size to a question that failed.
func emptyAnswer(m Message) Payload {
	switch m.Request {
	case GetVringBase:
		var v VringState
		if v.Decode(m.Payload) != nil {
			v = VringState{}
		}
		return VringState{Index: v.Index}
	case GetConfig:
		return nil // a config reply without payload says "failed"
	case GetInflightFD:
		return Inflight{}
	case SetLogBase:
		if m.NeedsReply() {
			return U64(1)
		}
		return Log{}
	}
	return U64(0)
}

// dropAccess ends all access to the guest: no ring runs, no memory is known.
func (b *Backend) dropAccess() {
	for i := range b.rings {
		b.rings[i].halt()
	}
	b.regions, b.log, b.haveLog = nil, Log{}, false
}
