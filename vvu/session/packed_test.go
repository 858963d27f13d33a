package session

import (
	"strings"
	"testing"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// Where a packed ring goes on is what the front-end says: the next slot with its wrap
// counter, and where the next completion goes, or nothing about that. GET_VRING_BASE
// answers with both. A ring may have any number of entries.
func TestPackedRingPositions(t *testing.T) {
	for _, tt := range []struct{ base, want uint32 }{
		{0x8000, 0x8000_8000},      // DPDK's virtio-user starts so
		{0x8000_8000, 0x8000_8000}, // QEMU does
		{0x8003, 0x8003_8003},
		{0, 0x8000_8000}, // some front-ends say of any new ring that it is at 0
		{1, 0x0001_0001}, // a lap further
		{0x0009_0009, 0x0009_0009},
		{0x8002_8005, 0x8002_8002}, // buffers in flight are taken again
		{0x8009_0001, 0x8009_8009}, // and over the end
	} {
		b := newBench(t, 1)
		b.send(vhostuser.SetFeatures, vhostuser.U64(virtio.Version1|virtio.ProtocolFeatures|virtio.RingPacked))
		const at = 1 << 30
		b.send(vhostuser.SetVringNum, vhostuser.VringState{Num: 10})
		b.send(vhostuser.SetVringBase, vhostuser.VringState{Num: tt.base})
		b.send(vhostuser.SetVringAddr, vhostuser.VringAddr{Desc: at, Avail: at + 1<<20 - 8, Used: at + 1<<20 - 4}) // to the last byte
		b.send(vhostuser.SetVringKick, vhostuser.VringFD{})
		if b.session.rings[0] == nil || b.session.rings[0].Size() != 10 {
			t.Fatalf("base %#x: the ring does not run: %v", tt.base, b.logs.All())
		}
		var state vhostuser.VringState
		if err := state.Decode(b.send(vhostuser.GetVringBase, vhostuser.VringState{}).Payload); err != nil {
			t.Fatal(err)
		}
		if state.Num != tt.want {
			t.Errorf("base %#x: stopped at %#x, want %#x", tt.base, state.Num, tt.want)
		}
		said := b.logs.FilterMessageSnippet("is not at the index that the front-end says").Len()
		if want := map[bool]int{true: 1}[tt.base>>16 != 0 && tt.base>>16 != tt.base&0xffff]; said != want {
			t.Errorf("base %#x: said %d times that it goes on elsewhere", tt.base, said)
		}
	}
}

// A place outside the ring, and parts outside the memory, are refused by name.
func TestPackedRingRefused(t *testing.T) {
	const at = 1 << 30
	good := vhostuser.VringAddr{Desc: at, Avail: at + 4096, Used: at + 8192}
	for text, tt := range map[string]struct {
		base   uint32
		change func(*vhostuser.VringAddr)
	}{
		"slot 10":           {0x800a, func(*vhostuser.VringAddr) {}},
		"descriptor ring":   {0x8000, func(a *vhostuser.VringAddr) { a.Desc = at + 1<<20 - 10*vring.DescSize + 1 }},
		"driver event area": {0x8000, func(a *vhostuser.VringAddr) { a.Avail = at + 1<<20 - 3 }},
		"device event area": {0x8000, func(a *vhostuser.VringAddr) { a.Used = 5 }},
	} {
		b := newBench(t, 1)
		b.send(vhostuser.SetFeatures, vhostuser.U64(virtio.Version1|virtio.ProtocolFeatures|virtio.RingPacked))
		addr := good
		tt.change(&addr)
		b.send(vhostuser.SetVringNum, vhostuser.VringState{Num: 10})
		b.send(vhostuser.SetVringBase, vhostuser.VringState{Num: tt.base})
		b.send(vhostuser.SetVringAddr, addr)
		b.send(vhostuser.SetVringKick, vhostuser.VringFD{})
		found := false
		for _, e := range b.logs.All() {
			err, _ := e.ContextMap()["error"].(string)
			found = found || strings.Contains(err, text)
		}
		if b.session.rings[0] != nil || !found {
			t.Errorf("%s: ring %v, logs %v", text, b.session.rings[0], b.logs.All())
		}
	}
}
