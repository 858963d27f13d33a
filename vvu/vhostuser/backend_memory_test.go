package vhostuser

import (
	"errors"
	"strings"
	"testing"
)

// regionAt is region i of many of a size.
func regionAt(i int, size uint64) MemoryRegion {
	return MemoryRegion{GPA: uint64(i) * size, Size: size, UVA: 1<<46 + uint64(i)*size}
}

// As many regions can be added as are announced, one by one and again after some were
// removed; one more is refused and changes nothing.
func TestMostRegions(t *testing.T) {
	cfg := allConfig
	cfg.MaxRegions = LimitMaxRegions
	b := NewBackend(cfg)
	reply, _, err := b.Handle(NewRequest(GetMaxMemSlots, nil))
	var slots U64
	if err != nil || slots.Decode(reply.Payload) != nil || slots != 509 {
		t.Fatalf("%d regions are announced (%v)", slots, err)
	}
	add := func(i int) error {
		_, _, err := b.Handle(NewRequest(AddMemReg, SingleRegion(regionAt(i, 4096))))
		return err
	}
	for i := range int(slots) {
		if err := add(i); err != nil {
			t.Fatalf("region %d: %v", i, err)
		}
	}
	var refusal *Refusal
	if err := add(int(slots)); !errors.As(err, &refusal) || len(b.Regions()) != int(slots) {
		t.Errorf("one region too many: %v, and there are %d", err, len(b.Regions()))
	}
	if _, _, err := b.Handle(NewRequest(RemMemReg, SingleRegion(regionAt(7, 4096)))); err != nil {
		t.Fatal(err)
	}
	if err := add(int(slots)); err != nil {
		t.Errorf("in the place of one that was removed: %v", err)
	}
}

// Memory has a bound, in a table and piece by piece. The refusal says what was too much.
func TestMemoryIsBounded(t *testing.T) {
	cfg := allConfig
	cfg.MaxRegions, cfg.MaxMemory = 32, 64<<30
	b := NewBackend(cfg)
	if _, _, err := b.Handle(NewRequest(SetProtocolFeatures, U64(ProtoReplyAck))); err != nil {
		t.Fatal(err)
	}
	refused := func(m Message) {
		t.Helper()
		var refusal *Refusal
		reply, _, err := b.Handle(needReply(m))
		if !errors.As(err, &refusal) || reply == nil || reply.Payload[0] != 1 {
			t.Fatalf("%v: %v with reply %v, want a refusal", m, err, reply)
		}
		for _, want := range []string{"131072 MiB in 2 regions", "65536 MiB", "--max-memory"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
	table := func(n int, size uint64) Message {
		var t MemoryTable
		for i := range n {
			t = append(t, regionAt(i, size))
		}
		return NewRequest(SetMemTable, t)
	}
	refused(table(2, 64<<30))
	if n := len(b.Regions()); n != 0 {
		t.Errorf("a table that is refused leaves %d regions", n)
	}
	if _, _, err := b.Handle(table(2, 32<<30)); err != nil {
		t.Fatalf("just enough: %v", err)
	}
	if _, _, err := b.Handle(table(1, 64<<30)); err != nil {
		t.Fatalf("just enough in one: %v", err)
	}
	refused(NewRequest(AddMemReg, SingleRegion(regionAt(1, 64<<30))))
	if n := len(b.Regions()); n != 1 {
		t.Errorf("a region that is refused leaves %d regions", n)
	}
}
