package vhostuser

import (
	"fmt"

	"vvufwd/virtio"
)

// Transport carries messages to a back-end and replies back; *Conn is one.
// ReadMessage must block until a reply is there.
type Transport interface {
	WriteMessage(Message) error
	ReadMessage() (Message, error)
}

var _ Transport = (*Conn)(nil)

// FrontendRing is what a front-end hands over about one ring. Its file
// descriptors stay the caller's.
type FrontendRing struct {
	Num               uint32 // entries
	Desc, Avail, Used uint64 // user addresses
	Kick              int    // eventfd that tells the back-end of new buffers; -1: it must poll
	Call              int    // eventfd that the back-end signals; -1: never interrupt, we poll
	UsedGPA           uint64 // guest-physical address of Used, for a dirty log
}

// FrontendConfig describes the device that a Frontend owns.
type FrontendConfig struct {
	Style    Style
	Features virtio.Features  // wanted; what the back-end does not offer is dropped
	Protocol ProtocolFeatures // wanted, of those that the style knows; 0 means all of them
	MTU      uint16           // that its owner gave the device (QEMU's host_mtu); 0: none. Only QEMU and vvudev tell the back-end
	Regions  []MemoryRegion
	Files    []int          // one file descriptor per region
	Rings    []FrontendRing // two per queue pair: the device's receive queue first
	Active   int            // queue pairs that are used from the start, if the style knows of it; 0: all
}

// Frontend is the front-end half of the protocol. It plays the message orders of
// a known front-end (its Style) and checks the replies as strictly as that one
// does. It is not safe for concurrent use.
type Frontend struct {
	cfg FrontendConfig
	t   Transport

	offered  virtio.Features
	features virtio.Features
	protocol ProtocolFeatures
	queueNum uint64
	base     []uint32 // per ring, as the last Stop returned them
	fresh    bool     // rings begin again
	slots    bool     // memory was added region by region on this connection

	flight  flight
	marking bool // writes to guest memory are to be marked in the dirty log

	askAll bool // set need_reply wherever an acknowledgement can come
	err    error
}

// NewFrontend returns a front-end that has said nothing yet.
func NewFrontend(t Transport, cfg FrontendConfig) *Frontend {
	if cfg.Protocol == 0 {
		cfg.Protocol = cfg.Style.wants
	}
	cfg.Protocol &= cfg.Style.wants
	return &Frontend{cfg: cfg, t: t, base: make([]uint32, len(cfg.Rings))}
}

// Connect negotiates, as the front-end does when its process starts.
func (f *Frontend) Connect() error { return f.play("connect", f.cfg.Style.connect) }

// Reconnect goes on over a new connection, as the front-end does after the
// back-end went away and came back.
func (f *Frontend) Reconnect(t Transport) error {
	f.t = t
	f.slots, f.askAll = false, false
	return f.play("reconnect", f.cfg.Style.reconnect)
}

// Start hands the rings over and starts them, as when the guest's driver sets
// DRIVER_OK. Rings begin at index 0, as after a device reset, packed ones with wrap
// counter 1.
func (f *Frontend) Start() error {
	f.fresh = true
	defer func() { f.fresh = false }()
	return f.Resume()
}

// Resume is Start with the rings where Stop found them, as after a pause.
func (f *Frontend) Resume() error { return f.play("start", f.cfg.Style.start) }

// Stop stops the rings, as when the guest's device is reset or paused, and
// returns where each stood.
func (f *Frontend) Stop() ([]uint32, error) {
	err := f.play("stop", f.cfg.Style.stop)
	return append([]uint32(nil), f.base...), err
}

// Prepare says, between Connect and Start, what to start for a device that goes by what the
// back-end offers: see FrontendConfig.
func (f *Frontend) Prepare(features virtio.Features, rings []FrontendRing, active int) {
	f.cfg.Features, f.cfg.Rings, f.cfg.Active = features, rings, active
	f.base = make([]uint32, len(rings))
}

// Enable enables or disables a queue pair, of a device that has been started.
func (f *Frontend) Enable(pair int, on bool) error {
	return f.play("enable", func(f *Frontend) {
		f.enable(2*pair, on)
		f.enable(2*pair+1, on)
	})
}

// SetMTU tells another MTU, if the back-end wants to know.
func (f *Frontend) SetMTU(mtu uint16) error {
	f.cfg.MTU = mtu
	return f.play("MTU", (*Frontend).setMTU)
}

// Offered returns the virtio features that the back-end has, as Connect has found out.
func (f *Frontend) Offered() virtio.Features { return f.offered }

// Features returns the virtio features that both sides have, without bit 30.
func (f *Frontend) Features() virtio.Features { return f.features }

// Protocol returns the protocol features that both sides have.
func (f *Frontend) Protocol() ProtocolFeatures { return f.protocol }

// QueueNum returns what GET_QUEUE_NUM answered, 0 if it was not asked.
func (f *Frontend) QueueNum() uint64 { return f.queueNum }

// play runs one script. Within it the first error sticks and silences the rest.
func (f *Frontend) play(what string, script func(*Frontend)) error {
	f.err = nil
	script(f)
	if f.err != nil {
		return fmt.Errorf("%s %s: %w", f.cfg.Style.Name, what, f.err)
	}
	return nil
}

func (f *Frontend) pairs() int { return len(f.cfg.Rings) / 2 }

// active is how many queue pairs are used from the start.
func (f *Frontend) active() int {
	if f.cfg.Active == 0 {
		return f.pairs()
	}
	return f.cfg.Active
}

func (f *Frontend) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// send writes a request.
func (f *Frontend) send(m Message) {
	if f.err == nil {
		f.fail(f.t.WriteMessage(m))
	}
}

// receive reads the reply to request r and checks it as QEMU does: same request,
// flags exactly ReplyFlags.
func (f *Frontend) receive(r Request) Message {
	if f.err != nil {
		return Message{}
	}
	m, err := f.t.ReadMessage()
	switch {
	case err != nil:
		f.fail(fmt.Errorf("wait for the reply to %v: %w", r, err))
	case m.Request != r:
		f.fail(fmt.Errorf("got a reply to %v, want one to %v", m.Request, r))
	case m.Flags != ReplyFlags:
		f.fail(fmt.Errorf("reply to %v has flags %#x, want %#x", r, m.Flags, ReplyFlags))
	default:
		return m
	}
	m.CloseFDs()
	return Message{}
}

// receiveU64 reads a reply of one u64.
func (f *Frontend) receiveU64(r Request) uint64 {
	m := f.receive(r)
	if f.err != nil {
		return 0
	}
	m.CloseFDs()
	var v U64
	if err := v.Decode(m.Payload); err != nil {
		f.fail(fmt.Errorf("reply to %v: %w", r, err))
	}
	return uint64(v)
}

// ask sends a request without payload and returns the u64 that answers it.
func (f *Frontend) ask(r Request) uint64 {
	m := NewRequest(r, nil)
	if f.askAll {
		m.Flags |= FlagNeedReply // rust-vmm sets it everywhere; the reply is the answer
	}
	f.send(m)
	return f.receiveU64(r)
}

// tell sends a request that has no reply of its own, and waits for its
// acknowledgement if the style always does.
func (f *Frontend) tell(r Request, p Payload, fds ...int) {
	if f.askAll {
		f.confirm(r, p, fds...)
		return
	}
	f.send(NewRequest(r, p, fds...))
}

// confirm sends a request and, if REPLY_ACK is there, waits for its
// acknowledgement.
func (f *Frontend) confirm(r Request, p Payload, fds ...int) {
	m := NewRequest(r, p, fds...)
	if !f.protocol.Has(ProtoReplyAck) {
		f.send(m)
		return
	}
	m.Flags |= FlagNeedReply
	f.send(m)
	if code := f.receiveU64(r); code != 0 {
		f.fail(fmt.Errorf("the back-end answers %v with error %d", r, code))
	}
}

// enable sends SET_VRING_ENABLE for one ring without waiting.
func (f *Frontend) enable(ring int, on bool) {
	say := f.tell
	if f.cfg.Style.confirmsEnable {
		say = f.confirm
	}
	say(SetVringEnable, enableState(ring, on))
}

func enableState(ring int, on bool) VringState {
	v := VringState{Index: uint32(ring)}
	if on {
		v.Num = 1
	}
	return v
}

func (f *Frontend) getFeatures() { f.offered = virtio.Features(f.ask(GetFeatures)) }

// setFeatures acknowledges what both sides have; bit 30 goes with it whenever it
// was offered.
func (f *Frontend) setFeatures() {
	f.features = f.cfg.Features & f.offered &^ (virtio.ProtocolFeatures | virtio.LogAll)
	say := f.tell
	if f.marking {
		say = f.confirm // QEMU wants to be sure then
	}
	say(SetFeatures, U64(f.features|f.offered&virtio.ProtocolFeatures|f.logFeature()))
}

// protocolFeatures negotiates protocol features if the back-end has any.
func (f *Frontend) protocolFeatures() {
	if f.offered.Has(virtio.ProtocolFeatures) {
		f.protocol = ProtocolFeatures(f.ask(GetProtocolFeatures)) & f.cfg.Protocol
		f.setProtocolFeatures()
	}
}

func (f *Frontend) setProtocolFeatures() { f.tell(SetProtocolFeatures, U64(f.protocol)) }

func (f *Frontend) getQueueNum() {
	if f.protocol.Has(ProtoMQ) {
		f.queueNum = f.ask(GetQueueNum)
	}
}

// setMemTable hands the whole memory over, and waits if it can.
func (f *Frontend) setMemTable() {
	f.confirm(SetMemTable, MemoryTable(f.cfg.Regions), f.cfg.Files...)
}

func (f *Frontend) num(i int) {
	f.tell(SetVringNum, VringState{Index: uint32(i), Num: f.cfg.Rings[i].Num})
}

func (f *Frontend) setBase(i int) {
	if f.fresh {
		f.base[i] = 0
		if f.features.Has(virtio.RingPacked) { // known by now
			f.base[i] = 1<<15 | 1<<31 // avail and used, wrap counters of 1
		}
	}
	f.tell(SetVringBase, VringState{Index: uint32(i), Num: f.base[i]})
}

func (f *Frontend) addr(i int) {
	r := &f.cfg.Rings[i]
	addr, say := VringAddr{Index: uint32(i), Desc: r.Desc, Used: r.Used, Avail: r.Avail}, f.tell
	if f.marking {
		addr.Flags, addr.Log, say = VringAddrLog, r.UsedGPA, f.confirm
	}
	say(SetVringAddr, addr)
}

func (f *Frontend) kick(i int) { f.vringFD(SetVringKick, i, f.cfg.Rings[i].Kick) }
func (f *Frontend) call(i int) { f.vringFD(SetVringCall, i, f.cfg.Rings[i].Call) }

func (f *Frontend) vringFD(r Request, i, fd int) {
	say := f.tell
	if f.cfg.Style.confirmsFDs {
		say = f.confirm
	}
	if fd < 0 {
		say(r, VringFD{Index: uint8(i), NoFD: true})
		return
	}
	say(r, VringFD{Index: uint8(i)}, fd)
}

// setMTU tells the MTU of the device if it has one and the back-end wants to know.
func (f *Frontend) setMTU() {
	if f.cfg.MTU != 0 && f.protocol.Has(ProtoMTU) {
		f.confirm(NetSetMTU, U64(f.cfg.MTU))
	}
}

// getBase stops ring i and remembers where it stands.
func (f *Frontend) getBase(i int) {
	m := NewRequest(GetVringBase, VringState{Index: uint32(i)})
	if f.askAll {
		m.Flags |= FlagNeedReply
	}
	f.send(m)
	reply := f.receive(GetVringBase)
	if f.err != nil {
		return
	}
	reply.CloseFDs()
	var v VringState
	if err := v.Decode(reply.Payload); err != nil {
		f.fail(fmt.Errorf("reply to %v: %w", GetVringBase, err))
	} else if v.Index != uint32(i) {
		f.fail(fmt.Errorf("reply to %v is for ring %d, want %d", GetVringBase, v.Index, i))
	}
	f.base[i] = v.Num
}
