package vhostuser

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRefusals are messages that cannot be carried out: the session goes on, the
// state stays, and who asked is told.
func TestRefusals(t *testing.T) {
	overlapping := func(change func(*MemoryRegion)) Message {
		r := MemoryRegion{GPA: 1 << 32, Size: 4096, UVA: 1 << 20}
		change(&r)
		return NewRequest(AddMemReg, SingleRegion(r))
	}
	for name, tc := range map[string]struct {
		m    Message
		want string
	}{
		"size of a running ring":     {state(SetVringNum, 0, 128), "running"},
		"position of a running ring": {state(SetVringBase, 1, 0), "running"},
		"size zero":                  {state(SetVringNum, 5, 0), "want 1 to 32768"},
		"size too large":             {state(SetVringNum, 5, 65536), "want 1 to 32768"},
		"size 2^32-1":                {state(SetVringNum, 5, 0xffffffff), "want 1 to 32768"},
		"size not a power of two":    {state(SetVringNum, 5, 255), "power of two"},
		"enable 2":                   {state(SetVringEnable, 0, 2), "want 0 or 1"},
		"big-endian":                 {state(SetVringEndian, 0, 1), "little-endian"},
		"mtu too small":              {NewRequest(NetSetMTU, U64(67)), "want 68 to 9000"},
		"mtu too large":              {NewRequest(NetSetMTU, U64(9001)), "want 68 to 9000"},
		"config is read-only":        {NewRequest(SetConfig, Config{Offset: 5, Data: []byte{1, 2}}), "byte 6"},
		"config beyond the end":      {NewRequest(SetConfig, Config{Offset: MaxConfigSize, Data: []byte{0, 3}}), "byte 257"},
		"config at 2^32":             {NewRequest(SetConfig, Config{Offset: ^uint32(0), Data: []byte{0, 3}}), "byte 4294967296"},
		"status too large":           {NewRequest(SetStatus, U64(0x100)), "8 bits"},
		"empty region":               {overlapping(func(r *MemoryRegion) { r.Size = 0 }), "empty"},
		"region wraps gpa":           {overlapping(func(r *MemoryRegion) { r.GPA = ^uint64(0) }), "wraps"},
		"region wraps uva":           {overlapping(func(r *MemoryRegion) { r.UVA = ^uint64(4094) }), "wraps"},
		"region wraps file":          {overlapping(func(r *MemoryRegion) { r.Offset = ^uint64(0) }), "wraps"},
		"region overlaps gpa":        {overlapping(func(r *MemoryRegion) { r.GPA = 0x9f000 }), "guest-physical"},
		"region overlaps uva":        {overlapping(func(r *MemoryRegion) { r.UVA = testRegions[1].UVA - 4095 }), "user"},
		"region within":              {overlapping(func(r *MemoryRegion) { r.GPA = 0xc1000 }), "guest-physical"},
		"no region of that address":  {NewRequest(RemMemReg, SingleRegion{GPA: 1, Size: 0xa0000, UVA: testRegions[0].UVA}), "no region"},
		"no region of that size":     {NewRequest(RemMemReg, SingleRegion{Size: 1, UVA: testRegions[0].UVA}), "no region"},
		"no region of that user":     {NewRequest(RemMemReg, SingleRegion{Size: 0xa0000, UVA: 1}), "no region"},
	} {
		t.Run(name, func(t *testing.T) {
			d := running(t, allConfig)
			before := *d.b
			reply, effects, err := d.b.Handle(needReply(tc.m))
			var refusal *Refusal
			if !errors.As(err, &refusal) || !strings.Contains(err.Error(), tc.want) || refusal.Request != tc.m.Request {
				t.Fatalf("got %v, want a refusal with %q", err, tc.want)
			}
			if len(effects) != 0 {
				t.Errorf("effects %v, want none", effects)
			}
			if diff := cmp.Diff(Ack(tc.m.Request, 1), *reply); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
			if d.b.Fault() != nil {
				t.Errorf("the session has failed: %v", d.b.Fault())
			}
			if diff := cmp.Diff(before, *d.b, cmp.AllowUnexported(Backend{}, BackendConfig{}, ring{})); diff != "" {
				t.Errorf("state (-before +after):\n%s", diff)
			}
			if reply, _, _ := d.b.Handle(tc.m); reply != nil {
				t.Errorf("a message without need_reply is answered with %v", reply)
			}
		})
	}
}

// TestRefusedTable checks that a table that is refused leaves none (contract 5).
func TestRefusedTable(t *testing.T) {
	nine := make(MemoryTable, 9)
	for i := range nine {
		nine[i] = MemoryRegion{GPA: uint64(i) << 20, Size: 1 << 20, UVA: uint64(i) << 20}
	}
	for name, table := range map[string]MemoryTable{
		"empty": {}, "too many": nine, "empty region": {{}},
		"overlap": {testRegions[0], testRegions[0]},
	} {
		t.Run(name, func(t *testing.T) {
			d := running(t, allConfig)
			d.must(needReply(NewRequest(SetMemTable, table)))
			if len(d.refused) != 1 || d.takeEffects() != "memory" || d.b.Regions() != nil {
				t.Errorf("refused %v, regions %v, want a refusal, a memory effect and no memory", d.refused, d.b.Regions())
			}
			if diff := cmp.Diff([]Message{Ack(SetMemTable, 1)}, d.replies); diff != "" {
				t.Errorf("replies (-want +got):\n%s", diff)
			}
			d.must(tableMessage)
			if diff := cmp.Diff(testRegions, d.b.Regions()); diff != "" {
				t.Errorf("regions after a good table (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("as many as allowed", func(t *testing.T) {
		d := running(t, allConfig)
		d.must(NewRequest(SetMemTable, nine[:8]))
		if len(d.b.Regions()) != 8 {
			t.Errorf("%d regions, want 8", len(d.b.Regions()))
		}
	})
}

// TestViolations are messages that end the session.
func TestViolations(t *testing.T) {
	cut := func(m Message, n int) Message { m.Payload = m.Payload[:n]; return m }
	grow := func(m Message) Message { m.Payload = append(m.Payload[:len(m.Payload):len(m.Payload)], 0); return m }
	flags := func(m Message, f uint32) Message { m.Flags = f; return m }
	none := BackendConfig{Features: testFeatures}
	cases := map[string]struct {
		cfg BackendConfig
		m   Message
	}{
		"version 0":       {allConfig, flags(NewRequest(GetFeatures, nil), 0)},
		"version 2":       {allConfig, flags(NewRequest(GetFeatures, nil), 2)},
		"reply":           {allConfig, NewReply(GetFeatures, U64(1))},
		"request 0":       {allConfig, NewRequest(0, nil)},
		"request 44":      {allConfig, NewRequest(44, nil)},
		"request 2^32-1":  {allConfig, NewRequest(0xffffffff, nil)},
		"index 256":       {allConfig, state(SetVringNum, 256, 256)},
		"index 2^16":      {allConfig, state(SetVringEnable, 1<<16, 1)},
		"index 2^31":      {allConfig, state(GetVringBase, 1<<31, 0)},
		"index 256+1 adr": {allConfig, addrOf(257)},
		"index of base":   {allConfig, state(SetVringBase, 0xffffffff, 0)},
		"kick bit 9":      {allConfig, NewRequest(SetVringKick, U64(0x200))},
		"call bit 63":     {allConfig, NewRequest(SetVringCall, U64(1<<63))},
		"table cut":       {allConfig, cut(tableMessage, 40)},
		"table of 4":      {allConfig, cut(tableMessage, 4)},
		"config size":     {allConfig, grow(NewRequest(GetConfig, Config{Data: []byte{1}}))},
		"log base":        {allConfig, NewRequest(SetLogBase, Log{})},
		"inflight":        {none, NewRequest(GetInflightFD, Inflight{Queues: 2, QueueSize: 256})},
		"iotlb":           {allConfig, grow(NewRequest(IOTLBMsg, Inflight{}))},
		"rarp":            {none, NewRequest(SendRARP, U64(0))},
		"mtu":             {none, NewRequest(NetSetMTU, U64(1500))},
		"endian":          {none, state(SetVringEndian, 0, 0)},
		"get config":      {none, cut(NewRequest(GetConfig, Config{}), 11)},
		"set config":      {none, cut(NewRequest(SetConfig, Config{Data: make([]byte, 6)}), 17)},
		"reset device":    {none, NewRequest(ResetDevice, nil)},
		"max slots":       {none, NewRequest(GetMaxMemSlots, nil)},
		"add region":      {none, NewRequest(AddMemReg, SingleRegion{})},
		"rem region":      {none, NewRequest(RemMemReg, SingleRegion{})},
		"set status":      {none, NewRequest(SetStatus, U64(0))},
		"get status":      {none, NewRequest(GetStatus, nil)},
		"kick without fd": {BackendConfig{PassesFDs: true}, vringFD(SetVringKick, 0)},
		"no fd with fd":   {BackendConfig{PassesFDs: true}, NewRequest(SetVringCall, VringFD{NoFD: true}, 9)},
		"two call fds":    {BackendConfig{PassesFDs: true}, NewRequest(SetVringCall, VringFD{}, 9, 10)},
		"table fds":       {BackendConfig{PassesFDs: true}, NewRequest(SetMemTable, MemoryTable(testRegions), 9)},
		"region fds":      {BackendConfig{PassesFDs: true, Protocol: SupportedProtocol}, NewRequest(AddMemReg, SingleRegion(testRegions[0]))},
		"stray fd":        {BackendConfig{PassesFDs: true}, NewRequest(GetFeatures, nil, 9)},
	}
	for r, h := range handlers {
		if h.size != anySize {
			cases["a byte too many in "+r.String()] = struct {
				cfg BackendConfig
				m   Message
			}{allConfig, Message{Request: r, Flags: Version, Payload: make([]byte, h.size+1)}}
		}
		if h.size > 0 {
			cases["no payload in "+r.String()] = struct {
				cfg BackendConfig
				m   Message
			}{allConfig, Message{Request: r, Flags: Version}}
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := running(t, BackendConfig{Features: tc.cfg.Features, Protocol: tc.cfg.Protocol})
			d.b.cfg.PassesFDs = tc.cfg.PassesFDs
			err := d.handle(tc.m)
			var v *Violation
			if !errors.As(err, &v) || v.Request != tc.m.Request {
				t.Fatalf("got %v, want a violation", err)
			}
			if got := d.takeEffects(); got != "reset" {
				t.Errorf("effects %q, want a reset", got)
			}
			if len(d.running) != 0 || d.b.Regions() != nil || !errors.Is(d.b.Fault(), v) {
				t.Errorf("rings %v, regions %v, fault %v", d.runningRings(), d.b.Regions(), d.b.Fault())
			}
			want := 0
			if tc.m.Request.HasReply() && tc.m.Flags&FlagReply == 0 {
				want = 1
			}
			if len(d.replies) != want {
				t.Errorf("%d replies, want %d: a front-end must not wait for ever", len(d.replies), want)
			}
		})
	}
}

// TestFaulted checks how a session ends that no one can close.
func TestFaulted(t *testing.T) {
	d := running(t, allConfig)
	if err := d.handle(NewRequest(0, nil)); err == nil {
		t.Fatal("no violation")
	}
	d.takeEffects()
	questions := []Message{
		NewRequest(GetFeatures, nil), NewRequest(GetProtocolFeatures, nil), NewRequest(GetQueueNum, nil),
		state(GetVringBase, 0, 0), state(GetVringBase, 999, 0), NewRequest(GetStatus, nil), NewRequest(GetMaxMemSlots, nil),
		NewRequest(GetConfig, Config{Data: make([]byte, 6)}),
	}
	for _, m := range questions {
		d.replies = nil
		d.handle(m)
		if len(d.replies) != 1 || d.replies[0].Flags != ReplyFlags || d.replies[0].Request != m.Request {
			t.Errorf("%v is answered with %v", m, d.replies)
		}
	}
	d.replies = nil
	d.must(needReply(tableMessage))
	if len(d.refused) == 0 || d.b.Regions() != nil || len(d.replies) != 1 || d.replies[0].Payload[0] == 0 {
		t.Errorf("a table in a failed session: refused %v, regions %v, replies %v", d.refused, d.b.Regions(), d.replies)
	}
	d.takeEffects()
	d.must(NewRequest(SetOwner, nil))
	if d.b.Fault() != nil || d.takeEffects() != "reset" || d.b.Features() != 0 || d.b.Protocol() != 0 {
		t.Errorf("a new owner finds %v, features %v", d.b.Fault(), d.b.Features())
	}
}
