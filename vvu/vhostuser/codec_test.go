package vhostuser

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// decoder is a payload that can be read.
type decoder interface {
	Payload
	Decode([]byte) error
}

// TestPayloadLayout compares each payload with its wire form byte for byte.
func TestPayloadLayout(t *testing.T) {
	for name, tc := range map[string]struct {
		value Payload
		fresh decoder
		wire  string
	}{
		"u64":        {U64(0x1122334455667788), new(U64), "8877665544332211"},
		"state":      {VringState{Index: 0x01020304, Num: 256}, new(VringState), "04030201" + "00010000"},
		"fd":         {VringFD{Index: 0xfe}, new(VringFD), "fe00000000000000"},
		"no fd":      {VringFD{Index: 3, NoFD: true}, new(VringFD), "0301000000000000"},
		"log":        {Log{Size: 1, Offset: 2}, new(Log), "0100000000000000" + "0200000000000000"},
		"empty conf": {Config{Offset: 5, Flags: 1, Data: []byte{}}, new(Config), "05000000" + "00000000" + "01000000"},
		"config":     {Config{Offset: 6, Data: []byte{1, 2}}, new(Config), "06000000" + "02000000" + "00000000" + "0102"},
		"address": {
			VringAddr{Index: 1, Flags: VringAddrLog, Desc: 0xd, Used: 0x5ed, Avail: 0xa, Log: 0x10},
			new(VringAddr),
			"01000000" + "01000000" + "0d00000000000000" + "ed05000000000000" + "0a00000000000000" + "1000000000000000",
		},
		"table": {
			MemoryTable{{GPA: 1, Size: 2, UVA: 3, Offset: 4}},
			new(MemoryTable),
			"01000000" + "00000000" + "0100000000000000" + "0200000000000000" + "0300000000000000" + "0400000000000000",
		},
		"region": {
			SingleRegion{GPA: 1, Size: 2, UVA: 3, Offset: 4},
			new(SingleRegion),
			"0000000000000000" + "0100000000000000" + "0200000000000000" + "0300000000000000" + "0400000000000000",
		},
		"inflight": {
			Inflight{Size: 1, Offset: 2, Queues: 3, QueueSize: 4},
			new(Inflight),
			"0100000000000000" + "0200000000000000" + "0300" + "0400" + "00000000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			wire, err := hex.DecodeString(tc.wire)
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.value.Append([]byte("head")); !bytes.Equal(got, append([]byte("head"), wire...)) {
				t.Errorf("wire form %x, want %x after the head", got, wire)
			}
			if err := tc.fresh.Decode(wire); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wire, tc.fresh.Append(nil)); diff != "" {
				t.Errorf("decoded and appended (-want +got):\n%s", diff)
			}
			for _, wrong := range [][]byte{nil, wire[:len(wire)-1], append(bytes.Clone(wire), 0)} {
				if err := tc.fresh.Decode(wrong); err == nil {
					t.Errorf("%d bytes were accepted, the payload has %d", len(wrong), len(wire))
				}
			}
		})
	}
}

func TestPayloadOddSizes(t *testing.T) {
	var table MemoryTable
	two := MemoryTable(testRegions).Append(nil)
	padded := append(bytes.Clone(two), make([]byte, paddedTable-len(two))...)
	if err := table.Decode(padded); err != nil || cmp.Diff(testRegions, []MemoryRegion(table)) != "" {
		t.Errorf("padded table: %v, %v", table, err)
	}
	for name, b := range map[string][]byte{
		"nine regions in the padded size": append([]byte{9, 0, 0, 0}, padded[4:]...),
		"four billion regions":            append([]byte{0xff, 0xff, 0xff, 0xff}, padded[4:]...),
		"count says one, brings two":      append([]byte{1, 0, 0, 0}, two[4:]...),
	} {
		if err := table.Decode(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var f Inflight
	if err := f.Decode(Inflight{QueueSize: 7}.Append(nil)[:20]); err != nil || f.QueueSize != 7 {
		t.Errorf("inflight without padding: %+v, %v", f, err)
	}
	var v VringFD
	if err := v.Decode(U64(0x200).Append(nil)); err == nil {
		t.Error("a ring file descriptor with bit 9 was accepted")
	}
	var c Config
	for _, want := range []Config{{Offset: MaxConfigSize}, {Offset: ^uint32(0), Data: []byte{1}}, {Offset: 7, Flags: 1, Data: make([]byte, maxConfigData)}} {
		if err := c.Decode(want.Append(nil)); err != nil || c.Offset != want.Offset || c.Flags != want.Flags || len(c.Data) != len(want.Data) {
			t.Errorf("a config piece at %d: %+v, %v", want.Offset, c, err)
		}
	}
}

func TestParse(t *testing.T) {
	m := NewRequest(SetVringNum, VringState{Index: 1, Num: 256})
	wire := m.Append(nil)
	if want := "08000000" + "01000000" + "08000000" + "01000000" + "00010000"; hex.EncodeToString(wire) != want {
		t.Fatalf("wire form %x, want %s", wire, want)
	}
	got, err := Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	if cap(got.Payload) != len(got.Payload) {
		t.Error("appending to a payload could write into its buffer")
	}
	for n := range wire {
		if _, err := Parse(wire[:n]); err == nil {
			t.Errorf("a message cut to %d bytes was accepted", n)
		}
	}
	if _, err := Parse(append(bytes.Clone(wire), 0)); err == nil {
		t.Error("a message with a byte too many was accepted")
	}
	huge := Header{Request: GetFeatures, Flags: Version, Size: MaxPayload + 1}.Append(nil)
	if _, err := ParseHeader(huge); err == nil || !strings.Contains(err.Error(), "4085") {
		t.Errorf("a payload beyond the limit: %v", err)
	}
	full := Message{Request: GetFeatures, Flags: Version, Payload: make([]byte, MaxPayload)}.Append(nil)
	if len(full) != MaxMessage {
		t.Fatalf("the largest message has %d bytes, want %d", len(full), MaxMessage)
	}
	if _, err := Parse(full); err != nil {
		t.Errorf("the largest message: %v", err)
	}
}

func TestReplyFlags(t *testing.T) {
	for _, m := range []Message{Ack(SetMemTable, 0), NewReply(GetFeatures, U64(1))} {
		if m.Flags != 5 || len(m.Payload) != 8 {
			t.Errorf("%v has flags %#x and %d bytes, want 0x5 and 8", m, m.Flags, len(m.Payload))
		}
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{GetFeatures.String(), "GET_FEATURES"},
		{CheckDeviceState.String(), "CHECK_DEVICE_STATE"},
		{Request(0).String(), "request 0"},
		{Request(44).String(), "request 44"},
		{Request(0xffffffff).String(), "request 4294967295"},
		{ProtocolFeatures(0).String(), "none"},
		{(ProtoMQ | ProtoStatus | 1<<40).String(), "MQ|STATUS|bit40"},
		{EffectKind(0).String(), "effect 0"},
		{EffectKind(200).String(), "effect 200"},
		{Effect{Kind: EffectStop, Index: 3}.String(), "stop 3"},
		{Effect{Kind: EffectMTU, Value: 1500}.String(), "mtu 1500"},
		{Effect{Kind: EffectAnnounce, Value: 0x010203040506}.String(), "announce 060504030201"},
		{Message{Request: SetMemTable, Flags: 9, Payload: make([]byte, 40), FDs: []int{1}}.String(), "SET_MEM_TABLE (40 bytes, need_reply, 1 fds)"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
	if got := len(protocolNames); ProtoDeviceState != 1<<(got-1) {
		t.Errorf("%d names for protocol features that end with %b", got, ProtoDeviceState)
	}
}
