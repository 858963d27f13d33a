package guest

import (
	"bytes"
	"slices"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// offerChain offers one chain, of n descriptors that are empty but for the last, at
// every place of a ring: all that costs a guest is the ring's index.
func offerChain(p *vringtest.Pair, n int, last vring.Desc) {
	for i := range n - 1 {
		vringtest.PutDesc(p.Raw.Table, i, vring.Desc{Flags: last.Flags | vring.DescNext, Next: uint16(i + 1)})
	}
	vringtest.PutDesc(p.Raw.Table, n-1, last)
	for range p.Device.Size() {
		p.Raw.Offer(0)
	}
}

// A burst of the longest chains that a guest can send is short, so that the guest does
// not hold up other pairs of the loop, and nothing of it is lost.
func TestLongChainsMakeShortBursts(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: vring.MaxChain}, running)
	addr, _ := r.tx.Alloc(100)
	offerChain(r.tx, vring.MaxChain, vring.Desc{Addr: uint64(addr), Len: 100})
	var frames [virtionet.MaxBurst]virtionet.Frame
	for seen := 0; seen < vring.MaxChain; {
		n := r.rxFrames(frames[:])
		if n < 1 || n > 8 {
			t.Fatalf("a burst of %d frames after %d, want few; %v", n, seen, r.failures)
		}
		r.release(n)
		seen += n
	}
	if r.tx.Raw.UsedIdx() != vring.MaxChain {
		t.Errorf("%d chains came back, want all", r.tx.Raw.UsedIdx())
	}
}

// So does a burst of the longest indirect tables, whatever is used of them.
func TestLongTablesMakeShortBursts(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: vring.MaxChain, Indirect: true, HeapBytes: 1 << 20}, running)
	addr, _ := r.tx.Alloc(100)
	tableAddr, table := r.tx.Alloc(vring.TableBytes(vring.MaxChain))
	vringtest.PutDesc(table, 0, vring.Desc{Addr: uint64(addr), Len: 100})
	offerChain(r.tx, 1, vring.Desc{Addr: uint64(tableAddr), Len: uint32(len(table)), Flags: vring.DescIndirect})
	var frames [virtionet.MaxBurst]virtionet.Frame
	if n := r.rxFrames(frames[:]); n < 1 || n > 8 {
		t.Errorf("a burst of %d frames, want few; %v", n, r.failures)
	}
}

// Chains as long as drivers make them come in full bursts.
func TestOrdinaryChainsMakeFullBursts(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{}, running)
	addr, _ := r.tx.Alloc(100)
	offerChain(r.tx, 64, vring.Desc{Addr: uint64(addr), Len: 100})
	var frames [virtionet.MaxBurst]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != virtionet.MaxBurst {
		t.Errorf("%d frames, want %d; %v", n, virtionet.MaxBurst, r.failures)
	}
}

// A frame for which endless chains, or a host of tiny buffers, would have to be put
// together is dropped, and the next one, for which few do, is sent.
func TestNoFrameTakesEndlessWork(t *testing.T) {
	for _, test := range []struct{ chain, each, most int }{{vring.MaxChain, 30, 8 * 30}, {1, 1, 1024}} {
		r := newGuestRig(t, vringtest.Config{Size: vring.MaxSize}, running)
		addr, _ := r.rx.Alloc(test.each)
		offerChain(r.rx, test.chain, vring.Desc{Addr: uint64(addr), Len: uint32(test.each), Flags: vring.DescWrite})
		fits := test.most/2 - virtionet.HeaderLen
		for i, f := range []virtionet.Frame{nettest.Frame(nettest.Payload(test.most, 1)), nettest.Frame(nettest.Payload(fits, 2)), nettest.Frame(nettest.Payload(fits, 3))} {
			for r.txFrames([]virtionet.Frame{f}) != 1 {
				t.Fatalf("chains of %d: frame %d is not done with", test.chain, i)
			}
		}
		c, used := r.Counters(), int(r.rx.Raw.UsedIdx())
		if c.Drops[virtionet.DropNoBuffer] != 1 || c.TxPackets != 2 || used != 2*(test.most/2)/test.each {
			t.Errorf("chains of %d: counted %+v, %d used; %v", test.chain, c, used, r.failures)
		}
		// Both at once, after one that was sent: the burst ends before the second.
		n := r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(fits, 4)), nettest.Frame(nettest.Payload(test.most, 5)), nettest.Frame(nettest.Payload(fits, 6))})
		if n != 1 || c.TxPackets != 3 || c.Drops[virtionet.DropNoBuffer] != 1 {
			t.Errorf("chains of %d: %d frames of a burst done, counted %+v", test.chain, n, c)
		}
	}
}

// Nor do frames that are cut into thousands of pieces, for which the guest has no buffer: a burst of them ends,
// and goes on when it is asked to.
func TestCutFramesMakeShortBursts(t *testing.T) {
	shapes := packettest.Shapes(t, 2000*8)
	shape := shapes[slices.IndexFunc(shapes, func(s packettest.Shape) bool { return s.Name == "tcp4" })]
	for _, filtered := range []bool{false, true} {
		q := offloading(0, 0)
		q.Mergeable = false
		if filtered {
			q.Filter = &Filter{NoBroadcast: true, AllUnicast: true, AllMulticast: true}
		}
		r := newGuestRig(t, vringtest.Config{Size: 4}, q)
		r.offer(t, 50)
		var frames []virtionet.Frame
		for len(frames) < virtionet.MaxBurst {
			frames = append(frames, nettest.Unfinished(t, shape, nettest.GSOHeader(shape, 8)))
			if filtered { // each runs alone
				frames = append(frames, nettest.Frame(bytes.Repeat([]byte{0xff}, 60)))
			}
		}
		for calls := 0; len(frames) > 0; calls++ {
			before := r.Counters().Pieces
			n := r.txFrames(frames)
			if pieces := r.Counters().Pieces - before; n == 0 || pieces > maxRoom+2000 {
				t.Fatalf("filtered %v: call %d was done with %d frames of %d, in %d pieces", filtered, calls, n, len(frames), pieces)
			}
			frames = frames[n:]
		}
		if c := r.Counters(); c.Segmented+c.Drops[virtionet.DropFiltered] != virtionet.MaxBurst || c.Drops[virtionet.DropNoBuffer] != 2000*c.Segmented {
			t.Errorf("filtered %v: counted %+v", filtered, c)
		}
	}
}

// Where some frames are filtered, those between them together take no more work than a burst.
func TestFilteredFramesMakeShortBursts(t *testing.T) {
	q := running
	q.Filter = &Filter{NoBroadcast: true, AllUnicast: true, AllMulticast: true}
	r := newGuestRig(t, vringtest.Config{Size: vring.MaxSize}, q)
	addr, _ := r.rx.Alloc(1)
	offerChain(r.rx, 1, vring.Desc{Addr: uint64(addr), Len: 1, Flags: vring.DescWrite})
	var frames []virtionet.Frame
	for len(frames) < virtionet.MaxBurst {
		frames = append(frames, nettest.Frame(nettest.Payload(900, 2)), nettest.Frame(bytes.Repeat([]byte{0xff}, 60)))
	}
	for left := frames; len(left) > 0; {
		before := r.rx.Raw.UsedIdx()
		n := r.txFrames(left)
		if used := r.rx.Raw.UsedIdx() - before; n == 0 || used > 5*maxRoom {
			t.Fatalf("%d frames were done with, in %d buffers", n, used)
		}
		left = left[n:]
	}
	if c := r.Counters(); c.TxPackets != virtionet.MaxBurst/2 || c.Drops[virtionet.DropFiltered] != virtionet.MaxBurst/2 {
		t.Errorf("counted %+v", c)
	}
}

// A frame that is too much for all buffers that a burst may take is dropped, the next like it too, and those between
// them that are not are sent.
func TestFramesBetweenThoseThatAreTooMuch(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 4}, running)
	for range 4 {
		r.offer(t, 100)
	}
	big, fits := nettest.Frame(nettest.Payload(400, 1)), nettest.Frame(nettest.Payload(80, 2))
	if n := r.txFrames([]virtionet.Frame{big, big, fits, big, fits}); n != 3 {
		t.Errorf("%d frames were done with", n)
	}
	if c := r.Counters(); c.TxPackets != 1 || c.Drops[virtionet.DropNoBuffer] != 2 {
		t.Errorf("counted %+v", c)
	}
	full := nettest.Frame(nettest.Payload(288, 3)) // all that is left
	if n := r.txFrames([]virtionet.Frame{full, fits}); n != 1 || r.Counters().TxPackets != 2 {
		t.Errorf("%d frames were done with, counted %+v", n, r.Counters())
	}
}

// A call that ends for the work that it makes, amid a frame, does not end for want of room: no one may sleep then until
// the guest offers more.
func TestNoSleepForOwnBounds(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 2048, HeapBytes: 1 << 20}, running)
	for range 2048 {
		r.offer(t, 128)
	}
	shape := packettest.Shapes(t, 64000)
	tcp := shape[slices.IndexFunc(shape, func(s packettest.Shape) bool { return s.Name == "tcp4" })]
	frame := nettest.Unfinished(t, tcp, nettest.GSOHeader(tcp, 48)) // 1334 pieces
	var b virtionet.Burst
	send := func(frames ...virtionet.Frame) int {
		copy(b.General(), frames)
		b.Truncate(len(frames))
		return r.Transmit(&b, 0, b.Len())
	}
	if n := send(frame); n != 0 || r.Counters().Pieces < maxRoom {
		t.Fatalf("%d frames were done with, in %d pieces", n, r.Counters().Pieces)
	}
	if _, room := r.EnableKicks(true); !room {
		t.Error("a loop would sleep with room for the rest")
	}
	copy(b.General(), b.Frames(0, 1)) // what is left of it
	if n := r.Transmit(&b, 0, 1); n != 1 {
		t.Errorf("the rest: %d frames were done with, drops %v", n, r.Counters().Drops)
	}
	if n := send(frame); n != 0 {
		t.Fatalf("one more: %d frames were done with", n)
	}
	if _, room := r.EnableKicks(true); room {
		t.Error("a loop would never sleep, though the ring is used up")
	}
}
