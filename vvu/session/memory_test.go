package session

import (
	"slices"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

var more = vhostuser.MemoryRegion{GPA: 1 << 32, Size: 1 << 16, UVA: 1 << 33}

// acked sends a message that is to be acknowledged, and returns whether it went well.
func (b *bench) acked(r vhostuser.Request, p vhostuser.Payload) bool {
	b.t.Helper()
	m := vhostuser.NewRequest(r, p)
	m.Flags |= vhostuser.FlagNeedReply
	reply, err := b.session.Handle(m)
	if err != nil || reply == nil {
		b.t.Fatalf("%v: reply %v, %v", r, reply, err)
	}
	var code vhostuser.U64
	if err := code.Decode(reply.Payload); err != nil {
		b.t.Fatal(err)
	}
	return code == 0
}

// A region more or less stops no ring that does not lie in it. The table before goes when
// all rings have gone over, and one that cannot be mapped changes nothing.
func TestRingsRunOnOverAnotherTable(t *testing.T) {
	b := newBench(t, 1)
	b.send(vhostuser.SetProtocolFeatures, vhostuser.U64(vhostuser.ProtoConfigureMemSlots|vhostuser.ProtoReplyAck))
	b.start(0)
	b.start(1)
	running := slices.Clone(b.session.rings)
	started := b.logs.FilterMessage("ring started").Len()
	same := func(what string, tables int32, regions int) {
		t.Helper()
		if !slices.Equal(b.session.rings, running) || b.logs.FilterMessage("ring started").Len() != started {
			t.Errorf("%s: rings stopped: %v", what, b.logs.All())
		}
		if n := b.carrier.mapped.Load(); n != tables || len(b.session.Regions()) != regions {
			t.Errorf("%s: %d tables are mapped and %d regions known, want %d and %d", what, n, len(b.session.Regions()), tables, regions)
		}
	}
	if !b.acked(vhostuser.AddMemReg, vhostuser.SingleRegion(more)) {
		t.Error("a region was refused")
	}
	same("one region more", 1, 2)
	b.carrier.refuse = true
	third := more
	third.GPA, third.UVA = third.GPA<<1, third.UVA<<1
	if b.acked(vhostuser.AddMemReg, vhostuser.SingleRegion(third)) {
		t.Error("a region that cannot be mapped was acknowledged")
	}
	same("a region that cannot be mapped", 1, 2)
	b.carrier.refuse = false
	if !b.acked(vhostuser.RemMemReg, vhostuser.SingleRegion(more)) {
		t.Error("a region is not removed")
	}
	same("one region less", 1, 1)
	if !b.acked(vhostuser.AddMemReg, vhostuser.SingleRegion(third)) {
		t.Error("a region was refused")
	}
	same("and one more", 1, 2)
}

// With the region in which it lies a ring stops, alone, and begins again with the region.
func TestRingStopsWithItsRegion(t *testing.T) {
	b := newBench(t, 1)
	b.send(vhostuser.SetProtocolFeatures, vhostuser.U64(vhostuser.ProtoConfigureMemSlots|vhostuser.ProtoReplyAck))
	b.send(vhostuser.AddMemReg, vhostuser.SingleRegion(more))
	b.start(0)
	at := more.UVA
	b.send(vhostuser.SetVringNum, vhostuser.VringState{Index: 1, Num: 16})
	b.send(vhostuser.SetVringAddr, vhostuser.VringAddr{Index: 1, Desc: at, Avail: at + uint64(vring.TableBytes(16)), Used: at + 1024})
	b.send(vhostuser.SetVringKick, vhostuser.VringFD{Index: 1})
	first := b.session.rings[0]
	if first == nil || b.session.rings[1] == nil {
		t.Fatalf("the rings do not run: %v", b.logs.All())
	}
	if b.acked(vhostuser.RemMemReg, vhostuser.SingleRegion(more)) {
		t.Error("that a ring lost its memory is acknowledged like any other change")
	}
	if b.session.rings[0] != first || b.session.rings[1] != nil || b.carrier.mapped.Load() != 1 {
		t.Errorf("rings %v, %d tables", b.session.rings, b.carrier.mapped.Load())
	}
	if !b.acked(vhostuser.AddMemReg, vhostuser.SingleRegion(more)) || b.session.rings[0] != first || b.session.rings[1] == nil {
		t.Errorf("with the region back: rings %v", b.session.rings)
	}
}
