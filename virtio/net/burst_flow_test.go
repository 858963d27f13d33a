package virtionet

import (
	"bytes"
	"testing"

	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
)

// The flow of a plain frame, of one in pieces, and of one whose headers are a copy of ours is the
// same, whatever kind of frame it is.
func TestFlowIsOneWhateverTheBurst(t *testing.T) {
	var frames [][]byte
	for _, n := range []int{0, 40, 1000} {
		for _, s := range packettest.Shapes(t, n) {
			frames = append(frames, s.Frame)
		}
	}
	arp := append(bytes.Repeat([]byte{1, 2, 3, 4, 5, 6}, 2), 8, 6)
	frames = append(frames, arp, append(arp[:14:14], make([]byte, 46)...))
	fragment := bytes.Clone(packettest.Shapes(t, 100)[0].Frame)
	fragment[20] |= 0x20 // of IPv4: more of them follow
	frames = append(frames, fragment)
	quick := 0
	for i, f := range frames {
		want := packet.Flow(f[:min(len(f), packet.FlowBytes)])
		at := AddressOf(f)
		if _, ok := flowOf(at, uint32(len(f))); ok {
			quick++
		}
		var b Burst
		b.Reset()
		b.Add(at, uint32(len(f)))
		if got := b.Flow(0); got != want {
			t.Errorf("frame %d: flow %#x, want %#x", i, got, want)
		}
		for cut := 1; cut < len(f) && cut < 100; cut++ {
			b.Reset()
			b.From.Add(vring.Piece{Addr: at, N: uint32(cut)})
			b.From.Add(vring.Piece{Addr: at + uint64(cut), N: uint32(len(f) - cut)})
			b.AddPieces(uint32(len(f)))
			if got := b.Flow(0); got != want {
				t.Fatalf("frame %d cut at %d: flow %#x, want %#x", i, cut, got, want)
			}
			list := b.General()
			list[0] = Frame{Data: [][]byte{f[:cut], f[cut:]}, Len: len(f)}
			if b.Truncate(1); b.Flow(0) != want {
				t.Fatalf("frame %d in general, cut at %d: flow %#x, want %#x", i, cut, b.Flow(0), want)
			}
		}
	}
	if quick < len(frames)/3 {
		t.Errorf("only %d of %d frames are of the usual kinds", quick, len(frames))
	}
}
