package vhostuser

import (
	"bytes"
	"errors"
	"testing"

	"vvufwd/virtio"
)

// FuzzParse: a buffer is either refused or parsed into exactly itself, and no
// payload decoder panics or accepts what it would write differently.
func FuzzParse(f *testing.F) {
	for _, r := range loadRecords(f) {
		for _, m := range r.connections[0] {
			f.Add(m.Append(nil))
		}
	}
	for _, p := range []Payload{Config{Data: make([]byte, 20)}, Inflight{}, Log{}, MemoryTable(testRegions)} {
		f.Add(NewRequest(GetConfig, p).Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.Append(nil), b) {
			t.Fatalf("%x was parsed into %x", b, m.Append(nil))
		}
		for _, d := range []decoder{
			new(U64), new(VringState), new(VringAddr), new(VringFD), new(MemoryTable), new(SingleRegion), new(Log),
			new(Inflight), new(Config),
		} {
			if d.Decode(m.Payload) != nil {
				continue
			}
			again := d.Append(nil)
			if err := d.Decode(again); err != nil {
				t.Fatalf("%T accepts %x but not its own %x: %v", d, m.Payload, again, err)
			}
		}
	})
}

// Pseudo requests of FuzzBackend's input.
const (
	fuzzBounce = 0xff
	fuzzReset  = 0xfe
)

// Bits of the first byte of FuzzBackend's input.
const (
	fuzzPassesFDs = 1 << iota
	fuzzPacked
	fuzzNoProtocol
	fuzzFourRings
)

// fuzzInput packs messages as FuzzBackend reads them: a byte of configuration,
// then for each message request, flags, number of descriptors, size and payload.
// Sizes and indexes of real messages fit their bytes.
func fuzzInput(config byte, ms []Message) []byte {
	in := []byte{config}
	for _, m := range ms {
		in = append(in, byte(m.Request), byte(m.Flags), byte(len(m.FDs)), byte(len(m.Payload)))
		in = append(in, m.Payload...)
	}
	return in
}

// FuzzBackend sends any sequence of messages: nothing may panic, every reply must
// be what a front-end waits for, and the state must keep its promises.
func FuzzBackend(f *testing.F) {
	for _, r := range loadRecords(f) {
		f.Add(fuzzInput(fuzzPassesFDs, r.connections[0]))
		f.Add(fuzzInput(fuzzFourRings, r.connections[1]))
	}
	for _, style := range Styles() {
		tap := &tapped{}
		fe := NewFrontend(tap, testFrontend(style, 1))
		cfg := allConfig
		cfg.Protocol &^= ProtoInflightShmFD // its answer is the data path's
		tap.b = NewBackend(cfg)
		for _, play := range []func() error{fe.Connect, fe.Start, func() error { _, err := fe.Stop(); return err }, fe.Start} {
			if err := play(); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(fuzzInput(0, tap.sent))
		f.Add(fuzzInput(fuzzPacked|fuzzNoProtocol, tap.sent))
		bounced := append(tap.sent, Message{Request: fuzzBounce})
		f.Add(fuzzInput(0, append(bounced, tap.sent...)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		cfg := allConfig
		cfg.PassesFDs, cfg.MaxMemory = in[0]&fuzzPassesFDs != 0, 8<<30
		if in[0]&fuzzPacked != 0 {
			cfg.Features |= virtio.RingPacked
		}
		if in[0]&fuzzNoProtocol != 0 {
			cfg.Protocol = 0
		}
		if in[0]&fuzzFourRings != 0 {
			cfg.Rings = 4
		}
		d := newModel(t, cfg)
		for in = in[1:]; len(in) >= 4; {
			m := Message{Request: Request(in[0]), Flags: uint32(in[1]), FDs: make([]int, in[2]%4)}
			n := min(int(in[3]), len(in)-4)
			m.Payload, in = in[4:4+n], in[4+n:]
			fuzzOne(t, d, m)
		}
	})
}

func fuzzOne(t *testing.T, d *model, m Message) {
	switch m.Request {
	case fuzzBounce:
		d.bounce()
		return
	case fuzzReset:
		d.b.Reset()
		clear(d.running)
		return
	}
	acks := d.b.Protocol().Has(ProtoReplyAck)
	d.replies = d.replies[:0]
	err := d.handle(m)
	acks = acks || d.b.Protocol().Has(ProtoReplyAck)
	d.work(1)

	var v *Violation
	if err != nil && (!errors.As(err, &v) || len(d.running) != 0 || d.b.Regions() != nil || d.b.Fault() == nil) {
		t.Fatalf("%v: %v leaves rings %v, regions %v, fault %v", m, err, d.runningRings(), d.b.Regions(), d.b.Fault())
	}
	mayReply := m.Flags&FlagReply == 0 && (m.Request.HasReply() || m.NeedsReply() && acks)
	mustReply := m.Flags&FlagReply == 0 && m.Request.HasReply()
	if len(d.replies) > 1 || len(d.replies) == 1 && !mayReply || len(d.replies) == 0 && mustReply {
		t.Fatalf("%v has the replies %v", m, d.replies)
	}
	for _, r := range d.replies {
		sizeOK := len(r.Payload) == 8
		switch m.Request {
		case GetConfig:
			_, asked, _ := decodeConfigQuestion(m.Payload)
			sizeOK = len(r.Payload) == 0 || len(r.Payload) == ConfigHeaderSize+int(asked)
		case GetInflightFD:
			sizeOK = len(r.Payload) == InflightSize
		}
		if r.Request != m.Request || r.Flags != 5 || !sizeOK {
			t.Fatalf("%v has the reply %v with flags %#x", m, r, r.Flags)
		}
	}
	checkPromises(t, d.b)
}

// checkPromises checks what Backend's accessors promise about hostile input.
func checkPromises(t *testing.T, b *Backend) {
	regions := b.Regions()
	if len(regions) > b.cfg.MaxRegions {
		t.Fatalf("%d regions", len(regions))
	}
	if b.cfg.MaxMemory > 0 {
		var total uint64
		for _, r := range regions {
			total += r.Size
		}
		if total > b.cfg.MaxMemory {
			t.Fatalf("%d bytes of memory, %d are allowed", total, b.cfg.MaxMemory)
		}
	}
	for i, r := range regions {
		if r.Size == 0 || r.GPA+r.Size < r.GPA || r.UVA+r.Size < r.UVA || r.Offset+r.Size < r.Offset {
			t.Fatalf("region %v is empty or wraps", r)
		}
		for _, o := range regions[:i] {
			if r.GPA-o.GPA < o.Size || o.GPA-r.GPA < r.Size || r.UVA-o.UVA < o.Size || o.UVA-r.UVA < r.Size {
				t.Fatalf("regions %v and %v overlap", r, o)
			}
		}
	}
	if b.Features()&^b.cfg.Features != 0 || b.Protocol()&^b.cfg.Protocol != 0 {
		t.Fatalf("features %v and %v were not offered", b.Features(), b.Protocol())
	}
	packed := b.Features().Has(virtio.RingPacked)
	for i := range MaxRings {
		s := b.Ring(i)
		if s.Num > MaxQueueSize || !packed && s.Base > 0xffff || s.Ready && !(s.HaveKick && s.Num > 0) {
			t.Fatalf("ring %d is %+v", i, s)
		}
		if s.Ready && !packed && s.Num&(s.Num-1) != 0 {
			t.Fatalf("split ring %d has %d entries", i, s.Num)
		}
	}
}

// tapped is a transport to a back-end that remembers what was sent.
type tapped struct {
	b       *Backend
	sent    []Message
	replies []Message
}

func (p *tapped) WriteMessage(m Message) error {
	p.sent = append(p.sent, m)
	reply, effects, err := p.b.Handle(m)
	for _, e := range effects {
		if e.Kind == EffectStop {
			r := p.b.Stopped(e.Index, 1)
			reply = &r
		}
	}
	if reply != nil {
		p.replies = append(p.replies, *reply)
	}
	return err
}

func (p *tapped) ReadMessage() (Message, error) {
	if len(p.replies) == 0 {
		return Message{}, errHang
	}
	r := p.replies[0]
	p.replies = p.replies[1:]
	return r, nil
}
