package vhostuser

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/virtio"
)

func state(r Request, index, num uint32) Message {
	return NewRequest(r, VringState{Index: index, Num: num})
}

func vringFD(r Request, index uint8) Message { return NewRequest(r, VringFD{Index: index}) }

func addrOf(index uint32) Message {
	base := 0x7f0000100000 + uint64(index)<<16
	return NewRequest(SetVringAddr, VringAddr{Index: index, Desc: base, Avail: base + 0x1000, Used: base + 0x2000})
}

func setFeatures(f virtio.Features) Message { return NewRequest(SetFeatures, U64(f)) }

func needReply(m Message) Message {
	m.Flags |= FlagNeedReply
	return m
}

var tableMessage = NewRequest(SetMemTable, MemoryTable(testRegions))

// startMessages start ring i in the order of QEMU, without its call.
func startMessages(i uint32) []Message {
	return []Message{state(SetVringNum, i, 256), state(SetVringBase, i, 9), addrOf(i), vringFD(SetVringKick, uint8(i))}
}

// running returns a model whose rings 0 and 1 run with all features.
func running(t *testing.T, cfg BackendConfig) *model {
	t.Helper()
	d := newModel(t, cfg)
	d.must(setFeatures(testFeatures|virtio.ProtocolFeatures),
		NewRequest(SetProtocolFeatures, U64(d.b.cfg.Protocol)),
		state(SetVringEnable, 0, 1), state(SetVringEnable, 1, 1), tableMessage)
	d.must(startMessages(0)...)
	d.must(startMessages(1)...)
	d.replies, d.effects, d.orders = nil, nil, nil
	return d
}

var allConfig = BackendConfig{Features: testFeatures, Protocol: SupportedProtocol, MTU: 9000, MAC: [6]byte{2, 0, 0, 0, 0, 1}}

// TestEffects is the table of what a message does to a running pair of rings.
func TestEffects(t *testing.T) {
	other := NewRequest(SetVringAddr, VringAddr{Index: 1, Desc: 0x7f0000200000, Avail: 0x7f0000201000, Used: 0x7f0000202000})
	for name, tc := range map[string]struct {
		messages []Message
		want     string
	}{
		"features repeated":        {[]Message{setFeatures(testFeatures | virtio.ProtocolFeatures)}, ""},
		"features changed":         {[]Message{setFeatures(virtio.Version1 | virtio.ProtocolFeatures)}, "features"},
		"features without bit 30":  {[]Message{state(SetVringEnable, 1, 0), setFeatures(testFeatures)}, "ring 1, features, ring 1"},
		"table again":              {[]Message{tableMessage}, "memory"},
		"kick replaced":            {[]Message{vringFD(SetVringKick, 0)}, "ring 0"},
		"late call":                {[]Message{vringFD(SetVringCall, 1)}, "ring 1, signal 1"},
		"call taken away":          {[]Message{NewRequest(SetVringCall, VringFD{Index: 1, NoFD: true})}, "ring 1"},
		"address changed":          {[]Message{other}, "ring 1"},
		"address repeated":         {[]Message{addrOf(1)}, ""},
		"enable repeated":          {[]Message{state(SetVringEnable, 0, 1)}, ""},
		"disable":                  {[]Message{state(SetVringEnable, 0, 0)}, "ring 0"},
		"stop":                     {[]Message{state(GetVringBase, 1, 0)}, "stop 1"},
		"stop twice":               {[]Message{state(GetVringBase, 1, 0), state(GetVringBase, 1, 0)}, "stop 1"},
		"call of a stopped ring":   {[]Message{state(GetVringBase, 1, 0), vringFD(SetVringCall, 1)}, "stop 1, ring 1"},
		"restart":                  {append([]Message{state(GetVringBase, 1, 0)}, startMessages(1)...), "stop 1, ring 1"},
		"ring not served":          {append(startMessages(7), vringFD(SetVringCall, 7), state(GetVringBase, 7, 0)), ""},
		"err":                      {[]Message{vringFD(SetVringErr, 1)}, ""},
		"owner again":              {[]Message{NewRequest(SetOwner, nil), NewRequest(SetOwner, nil)}, ""},
		"reset owner":              {[]Message{NewRequest(ResetOwner, nil)}, ""},
		"questions":                {[]Message{NewRequest(GetFeatures, nil), NewRequest(GetProtocolFeatures, nil), NewRequest(GetQueueNum, nil)}, ""},
		"endianness":               {[]Message{state(SetVringEndian, 1, 0)}, ""},
		"rarp":                     {[]Message{NewRequest(SendRARP, U64(0x9999060504030201))}, "announce 010203040506"},
		"mtu":                      {[]Message{NewRequest(NetSetMTU, U64(1400))}, "mtu 1400"},
		"mac":                      {[]Message{NewRequest(SetConfig, Config{Offset: 2, Data: []byte{1, 2, 3, 4}})}, "config"},
		"region added and removed": {[]Message{NewRequest(AddMemReg, SingleRegion{GPA: 1 << 32, Size: 4096, UVA: 4096}), NewRequest(RemMemReg, SingleRegion(testRegions[0]))}, "regions, regions"},
		"reset device":             {[]Message{NewRequest(ResetDevice, nil)}, "features, ring 0, ring 1"},
		"status":                   {[]Message{NewRequest(SetStatus, U64(15)), NewRequest(GetStatus, nil)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := running(t, allConfig)
			d.must(tc.messages...)
			if got := d.takeEffects(); got != tc.want || len(d.refused) > 0 {
				t.Errorf("effects %q, refused %v, want %q", got, d.refused, tc.want)
			}
		})
	}
}

// TestAcks checks REPLY_ACK: only when negotiated, and never twice.
func TestAcks(t *testing.T) {
	d := newModel(t, allConfig)
	d.must(needReply(NewRequest(SetOwner, nil)))
	d.quiet()
	d.must(needReply(NewRequest(SetProtocolFeatures, U64(ProtoReplyAck))))
	if diff := cmp.Diff([]Message{Ack(SetProtocolFeatures, 0)}, d.replies); diff != "" {
		t.Errorf("the message that negotiates REPLY_ACK (-want +got):\n%s", diff)
	}
	d.replies = nil
	d.must(needReply(NewRequest(GetFeatures, nil)))
	if len(d.replies) != 1 {
		t.Errorf("%d replies to a question with need_reply, want 1", len(d.replies))
	}
	d.replies = nil
	d.must(tableMessage)
	d.quiet()
	d.must(needReply(NewRequest(SetProtocolFeatures, U64(0))), needReply(tableMessage))
	d.quiet()
}

// TestFeatureMasking: bits that were not offered do not come into force, and do
// not end the session.
func TestFeatureMasking(t *testing.T) {
	d := newModel(t, BackendConfig{Features: virtio.Version1 | virtio.LogAll, Protocol: ProtoMQ | ProtoBackendReq})
	d.must(NewRequest(GetFeatures, nil), NewRequest(GetProtocolFeatures, nil))
	if got := virtio.Features(binary.LittleEndian.Uint64(d.replies[0].Payload)); got != virtio.Version1|virtio.ProtocolFeatures {
		t.Errorf("offered %v", got)
	}
	if got := ProtocolFeatures(binary.LittleEndian.Uint64(d.replies[1].Payload)); got != ProtoMQ {
		t.Errorf("offered %v", got)
	}
	d.must(setFeatures(virtio.Version1|virtio.EventIdx|virtio.NetMTU), NewRequest(SetProtocolFeatures, U64(ProtoMQ|ProtoConfig)))
	features, protocol := d.b.Stray()
	if d.b.Features() != virtio.Version1 || features != virtio.EventIdx|virtio.NetMTU {
		t.Errorf("in force %v, stray %v", d.b.Features(), features)
	}
	if d.b.Protocol() != ProtoMQ || protocol != ProtoConfig {
		t.Errorf("in force %v, stray %v", d.b.Protocol(), protocol)
	}
}

// TestEnable: without bit 30 rings are enabled by themselves.
func TestEnable(t *testing.T) {
	d := newModel(t, allConfig)
	if !d.b.Ring(0).Enabled {
		t.Error("a ring is disabled before any features")
	}
	d.must(setFeatures(testFeatures | virtio.ProtocolFeatures))
	if d.b.Ring(0).Enabled {
		t.Error("a ring is enabled though no one said so")
	}
	d.must(state(SetVringEnable, 0, 1), tableMessage)
	d.must(startMessages(0)...)
	d.must(state(GetVringBase, 0, 0))
	if !d.b.Ring(0).Enabled {
		t.Error("stopping a ring lost its enable flag")
	}
	d.must(setFeatures(testFeatures))
	if !d.b.Ring(1).Enabled {
		t.Error("a ring is disabled without bit 30")
	}
}

// TestReadiness sends what a ring needs in every order; only the last message
// starts it.
func TestReadiness(t *testing.T) {
	parts := []Message{state(SetVringNum, 1, 64), addrOf(1), vringFD(SetVringKick, 1)}
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		d := newModel(t, allConfig)
		d.must(tableMessage)
		for n, i := range order {
			d.must(parts[i])
			if got := d.b.Ring(1).Ready; got != (n == 2) {
				t.Errorf("order %v, after %v: ready %v", order, parts[i].Request, got)
			}
		}
		if s := d.b.Ring(1); s.Base != 0 || s.Callable {
			t.Errorf("order %v: %+v", order, s)
		}
	}
}

// TestBase: 16 bits for split rings, all 32 for packed ones; and what a ring
// that never ran answers.
func TestBase(t *testing.T) {
	cfg := allConfig
	cfg.Features |= virtio.RingPacked
	d := newModel(t, cfg)
	d.must(state(SetVringBase, 0, 0x80018001))
	if got := d.b.Ring(0).Base; got != 0x8001 {
		t.Errorf("split base %#x, want 0x8001", got)
	}
	d.must(setFeatures(cfg.Features))
	if got := d.b.Ring(0).Base; got != 0x80018001 {
		t.Errorf("packed base %#x, want 0x80018001", got)
	}
	d.must(state(SetVringNum, 0, 200), addrOf(0), vringFD(SetVringKick, 0))
	if !d.b.Ring(0).Ready {
		t.Error("a packed ring of 200 is not ready")
	}
	d.takeEffects()
	d.must(setFeatures(virtio.Version1 | virtio.ProtocolFeatures))
	if got := d.takeEffects(); d.b.Ring(0).Ready || got != "features, ring 0" {
		t.Errorf("a split ring of 200: %+v, effects %q", d.b.Ring(0), got)
	}
	d.replies = nil
	d.must(state(GetVringBase, 0, 0), state(SetVringBase, 255, 7), state(GetVringBase, 255, 0), state(GetVringBase, 254, 0))
	want := []Message{
		NewReply(GetVringBase, VringState{Index: 0, Num: 0x80018001}),
		NewReply(GetVringBase, VringState{Index: 255, Num: 7}),
		NewReply(GetVringBase, VringState{Index: 254, Num: 0}),
	}
	if diff := cmp.Diff(want, d.replies); diff != "" {
		t.Errorf("replies (-want +got):\n%s", diff)
	}
}

// TestConfigSpace reads struct virtio_net_config through GET_CONFIG.
func TestConfigSpace(t *testing.T) {
	d := newModel(t, allConfig)
	d.must(NewRequest(SetConfig, Config{Data: []byte{2, 9}}), NewRequest(NetSetMTU, U64(1400)),
		NewRequest(GetConfig, Config{Data: make([]byte, 20)}), NewRequest(GetConfig, Config{Offset: 250, Data: make([]byte, 6)}))
	want := []byte{2, 9, 0, 0, 0, 1, 1, 0, 1, 0, 0x78, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0}
	if diff := cmp.Diff(Config{Data: want}.Append(nil), d.replies[0].Payload); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Config{Offset: 250, Data: make([]byte, 6)}.Append(nil), d.replies[1].Payload); diff != "" {
		t.Errorf("its end (-want +got):\n%s", diff)
	}
	if d.b.MAC() != [6]byte{2, 9, 0, 0, 0, 1} || d.b.MTU() != 1400 {
		t.Errorf("MAC %x, MTU %d", d.b.MAC(), d.b.MTU())
	}
	d.must(NewRequest(ResetDevice, nil))
	if d.b.MAC() != allConfig.MAC || d.b.MTU() != allConfig.MTU {
		t.Errorf("after a reset MAC %x, MTU %d", d.b.MAC(), d.b.MTU())
	}
}

// TestAdjacentRegions: touching is not overlapping, in either order.
func TestAdjacentRegions(t *testing.T) {
	low, high := MemoryRegion{GPA: 0x1000, Size: 0x1000, UVA: 0x5000}, MemoryRegion{GPA: 0x2000, Size: 0x1000, UVA: 0x6000}
	last := MemoryRegion{GPA: ^uint64(0x1fff), Size: 0x1000, UVA: ^uint64(0x1fff)}
	for _, table := range []MemoryTable{{low, high}, {high, low}, {last, low}} {
		d := newModel(t, allConfig)
		d.must(NewRequest(SetMemTable, table))
		if diff := cmp.Diff([]MemoryRegion(table), d.b.Regions()); diff != "" || len(d.refused) > 0 {
			t.Errorf("refused %v, regions (-want +got):\n%s", d.refused, diff)
		}
	}
}

// TestResetDevice: rings, features and status begin again; memory, owner and
// protocol features stay.
func TestResetDevice(t *testing.T) {
	d := running(t, allConfig)
	d.must(NewRequest(SetStatus, U64(virtio.StatusDriverOK)), state(SetVringBase, 9, 5))
	if got := d.b.Status(); got != virtio.StatusDriverOK {
		t.Errorf("status %#x, want %#x", got, virtio.StatusDriverOK)
	}
	d.must(NewRequest(ResetDevice, nil))
	for i := range MaxRings {
		if got, want := d.b.Ring(i), (RingState{Enabled: true}); got != want { // enabled: bit 30 is not in force any more
			t.Errorf("ring %d is %+v, want %+v", i, got, want)
		}
	}
	if d.b.Features() != 0 || d.b.Status() != 0 || d.b.Regions() == nil || d.b.Protocol() != SupportedProtocol {
		t.Errorf("features %v, status %#x, regions %v, protocol %v", d.b.Features(), d.b.Status(), d.b.Regions(), d.b.Protocol())
	}
}

// TestBegunAnew: some front-ends stop no ring when their guest resets its device. They disable
// it, some with a word about the status, and begin it anew when the guest does, at the same place or another.
func TestBegunAnew(t *testing.T) {
	off := []Message{state(SetVringEnable, 0, 0), state(SetVringEnable, 1, 0)}
	for name, tc := range map[string]struct {
		reset []Message
		stops bool // at the reset
		again []Message
	}{
		"alioth": {append(off, NewRequest(SetStatus, U64(0))), true,
			[]Message{vringFD(SetVringKick, 1), vringFD(SetVringCall, 1), state(SetVringNum, 1, 64), state(SetVringBase, 1, 0), addrOf(1)}},
		"libkrun": {off, false,
			[]Message{state(SetVringNum, 1, 64), state(SetVringBase, 1, 0), addrOf(1), vringFD(SetVringCall, 1), vringFD(SetVringKick, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			d := running(t, allConfig)
			d.work(7)
			d.must(tc.reset...)
			if got := len(d.runningRings()) == 0; got != tc.stops {
				t.Errorf("after the reset rings %v run", d.runningRings())
			}
			d.must(tc.again...)
			d.must(state(SetVringEnable, 1, 1))
			if s := d.b.Ring(1); len(d.refused) > 0 || !s.Ready || !s.Enabled || s.Num != 64 || d.at[1] != 0 {
				t.Errorf("refused %v, ring %+v at %d, want 0", d.refused, s, d.at[1])
			}
			d.must(state(SetVringNum, 1, 128))
			if len(d.refused) != 1 || d.b.Ring(1).Num != 64 {
				t.Errorf("a ring that is enabled has got another size: refused %v", d.refused)
			}
		})
	}
}

// TestStatusBeforeStop: QEMU before 8.1 says 0 first, and then asks where rings stand.
func TestStatusBeforeStop(t *testing.T) {
	d := running(t, allConfig)
	d.work(7)
	d.must(NewRequest(SetStatus, U64(0)))
	if got := d.runningRings(); len(got) != 0 {
		t.Errorf("rings %v run", got)
	}
	for i := range uint32(2) {
		d.must(state(GetVringBase, i, 0))
		var v VringState
		if err := v.Decode(d.replies[i].Payload); err != nil || v.Num != 9+7 {
			t.Errorf("ring %d stands at %d, %v, want 16", i, v.Num, err)
		}
	}
}

// TestSnapshotsAreCopies: what is handed out cannot change the machine.
func TestSnapshotsAreCopies(t *testing.T) {
	d := running(t, allConfig)
	d.b.Regions()[0].Size = 1
	if diff := cmp.Diff(testRegions, d.b.Regions()); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
	if d.b.Ring(-1) != (RingState{}) || d.b.Ring(MaxRings) != (RingState{}) {
		t.Error("a ring out of range has a state")
	}
	d.b.Stopped(-1, 5)
	d.b.Stopped(MaxRings, 5)
	d.b.ForgetMemory()
	if d.b.Regions() != nil {
		t.Error("memory is not forgotten")
	}
}

func TestConfigDefaults(t *testing.T) {
	b := NewBackend(BackendConfig{Rings: 1000, MaxRegions: 1 << 30, MaxQueueSize: 1 << 30, Protocol: ^ProtocolFeatures(0), Features: virtio.NetMTU})
	if b.Rings() != MaxRings || b.cfg.MaxRegions != 509 || b.cfg.MaxQueueSize != 32768 || b.cfg.Protocol != SupportedProtocol || b.cfg.Features != virtio.ProtocolFeatures|virtio.NetMTU|virtio.LogAll {
		t.Errorf("limits: %+v", b.cfg)
	}
	if b = NewBackend(BackendConfig{Features: virtio.NetMTU, Protocol: SupportedProtocol &^ ProtoMTU}); b.cfg.Features != virtio.ProtocolFeatures|virtio.LogAll {
		t.Errorf("offers %v though no MTU can be set", b.cfg.Features)
	}
	b = NewBackend(BackendConfig{MTU: 1500})
	if b.Rings() != 2 || b.cfg.MaxRegions != 8 || b.cfg.MaxQueueSize != 32768 || !b.cfg.Features.Has(virtio.NetMTU) {
		t.Errorf("defaults: %+v", b.cfg)
	}
}
