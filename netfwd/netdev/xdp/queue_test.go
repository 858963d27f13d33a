package xdp

import (
	"bytes"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

var (
	small = properties{Mode: Native, Chunk: smallChunk}
	whole = properties{Mode: Native, Chunk: largeChunk, Parts: true, Metadata: true}
)

// Frames in one chunk and in several are described in order, come again when they were not released, and
// their chunks go back.
func TestReceive(t *testing.T) {
	p := play(t, whole)
	var b virtionet.Burst
	for round := range 3 * rxChunks / 16 {
		var want [][]byte
		for i, n := range []int{60, 9000, 14, 1514, 3840, 3841, 64000, 100} {
			f := nettest.Payload(n, round+i)
			want = append(want, f)
			p.arrive(t, f, 3840)
		}
		for first := 0; first < len(want); {
			if !p.Receive(&b) || !slices.EqualFunc(content(&b), want[first:], bytes.Equal) {
				t.Fatalf("round %d: %d frames, %d are wanted, or they differ", round, b.Len(), len(want)-first)
			}
			p.Release(&b, 0, 2)
			first += 2
			p.Recover()
		}
		if p.Receive(&b) || b.Len() != 0 {
			t.Fatal("something has come from nowhere")
		}
	}
	if n := p.fillEnd.ready(); n != rxChunks {
		t.Errorf("%d chunks of %d are the kernel's", n, rxChunks)
	}
	if c := p.Counters(); c.RxPackets != 8*3*rxChunks/16 || c.Dropped() != 0 {
		t.Errorf("counted %+v", c)
	}
}

// What cannot be is dropped, by itself, and its chunks go back if they are any.
func TestLies(t *testing.T) {
	const last = rxChunks * largeChunk
	for name, test := range map[string]struct {
		lie    []desc
		reason virtionet.Drop
	}{
		"not received into":         {[]desc{{addr: last, n: 100}}, virtionet.DropBadFrame},
		"nowhere":                   {[]desc{{addr: 1 << 63, n: 100}}, virtionet.DropBadFrame},
		"at the end of all":         {[]desc{{addr: ^uint64(0), n: 100}}, virtionet.DropBadFrame},
		"beyond its chunk":          {[]desc{{addr: 4000, n: 97}}, virtionet.DropBadFrame},
		"much longer than a chunk":  {[]desc{{addr: 0, n: ^uint32(0)}}, virtionet.DropBadFrame},
		"nothing":                   {[]desc{{addr: 256, n: 0}}, virtionet.DropBadFrame},
		"too short":                 {[]desc{{addr: 256, n: 13}}, virtionet.DropRunt},
		"too short in parts":        {[]desc{{addr: 256, n: 6, options: optionContinued}, {addr: 8192, n: 6}}, virtionet.DropRunt},
		"a part is nowhere":         {[]desc{{addr: 256, n: 60, options: optionContinued}, {addr: last, n: 60}}, virtionet.DropBadFrame},
		"too long":                  {slices.Concat(slices.Repeat([]desc{{addr: 256, n: 3840, options: optionContinued}}, 17), []desc{{addr: 256, n: 3840}}), virtionet.DropTooLong},
		"a frame that does not end": {slices.Repeat([]desc{{addr: 256, n: 1, options: optionContinued}}, maxParts), virtionet.DropBadFrame},
	} {
		t.Run(name, func(t *testing.T) {
			p := play(t, whole)
			good := nettest.Payload(100, 1)
			p.arrive(t, good, 3840)
			for _, d := range test.lie {
				p.rxEnd.put(d)
			}
			p.arrive(t, good, 3840)
			var b virtionet.Burst
			for i := range 2 {
				if p.Receive(&b); !slices.EqualFunc(content(&b), [][]byte{good}, bytes.Equal) {
					t.Fatalf("frame %d: %d frames, or another one", i, b.Len())
				}
				p.Release(&b, 0, 1)
			}
			if c := p.Counters(); c.Drops[test.reason] != 1 || c.Dropped() != 1 {
				t.Errorf("drops: %v", c.Drops)
			}
		})
	}
}

// Indices that cannot be lead nowhere, and it goes on when they are right again.
func TestWildIndices(t *testing.T) {
	p := play(t, small)
	var b virtionet.Burst
	for _, v := range []uint32{1 << 31, rxSize + 1, ^uint32(0)} {
		atomic.StoreUint32(p.rx.producer, p.rx.next+v)
		atomic.StoreUint32(p.tx.consumer, p.tx.next+v)
		atomic.StoreUint32(p.done.producer, p.done.next+v)
		for range 2 * rxSize / virtionet.MaxBurst {
			p.Receive(&b)
			p.Release(&b, 0, b.Len())
			p.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(60, 1))), 0, 1)
			p.Notify()
		}
		if p.count < 0 || p.count > txChunks {
			t.Fatalf("%d chunks are free", p.count)
		}
	}
}

// Frames of all kinds reach the kernel as they are, until all chunks are its own, and again when it is
// done with them.
func TestTransmit(t *testing.T) {
	p := play(t, whole)
	for round := range 3 {
		var want [][]byte
		full := false
		for i := 0; !full; i++ {
			f := nettest.Payload([]int{60, 1514, 9000}[i%3], round+i)
			full = p.Transmit(nettest.BurstOf(nettest.Frame(f[:14], f[14:])), 0, 1) == 0
			if !full {
				want = append(want, f)
			}
		}
		if len(want) < txChunks/3 || p.rooms() >= 3 {
			t.Fatalf("full with %d frames and %d chunks", len(want), p.rooms())
		}
		p.Notify()
		if got, _ := p.sent(t); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%d frames were sent, %d came", len(want), len(got))
		}
		p.reclaim()
		if p.count != txChunks {
			t.Fatalf("%d chunks are free", p.count)
		}
	}
	if p.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(9019, 1))), 0, 1); p.Counters().Drops[virtionet.DropTooLong] != 1 {
		t.Errorf("a frame beyond the MTU: %v", p.Counters().Drops)
	}
	one := play(t, small)
	if one.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(smallChunk-headroom+1, 1))), 0, 1); one.Counters().Drops[virtionet.DropTooLong] != 1 {
		t.Errorf("a frame that takes two chunks, where it may not: %v", one.Counters().Drops)
	}
}

// A checksum that is left undone is described to the kernel where it completes such, before the frame.
func TestChecksums(t *testing.T) {
	for _, metadata := range []bool{false, true} {
		p := play(t, properties{Mode: Native, Chunk: smallChunk, Metadata: metadata})
		for _, shape := range packettest.Shapes(t, 900) {
			if shape.Layout.Protocol == 0 {
				continue
			}
			h := nettest.CsumHeader(shape)
			p.Transmit(nettest.BurstOf(nettest.Unfinished(t, shape, h)), 0, 1)
			frames, said := p.sent(t)
			if !metadata {
				if len(frames) != 1 || !bytes.Equal(frames[0], shape.Frame) || said[0].options != 0 {
					t.Fatalf("%s: not completed", shape.Name)
				}
				continue
			}
			if len(frames) != 1 || !bytes.Equal(frames[0], shape.Unfinished()) || said[0].options != optionMetadata {
				t.Fatalf("%s: %d frames, options %#x", shape.Name, len(frames), said[0].options)
			}
			m := view(p.receiver.base+said[0].addr-metadataLen, metadataLen)
			if m[0] != unix.XDP_TXMD_FLAGS_CHECKSUM || int(m[8])|int(m[9])<<8 != int(h.CsumStart) || int(m[10])|int(m[11])<<8 != int(h.CsumOffset) {
				t.Errorf("%s: % x is said, want %+v", shape.Name, m, h)
			}
		}
	}
}

// The kernel may complete what it was not given, twice, or not at all.
func TestWildCompletions(t *testing.T) {
	p := play(t, small)
	for _, at := range []uint64{0, ^uint64(0), p.transmitter.sendFrom(0), p.transmitter.sendFrom(0), p.transmitter.sendFrom(txChunks - 1), p.receiver.rxEnd() - 1, 1 << 40} {
		p.doneEnd.put(at)
	}
	p.doneEnd.publish()
	for i := range 2 * txChunks {
		p.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(60, i))), 0, 1)
		if p.count < 0 || p.count > txChunks {
			t.Fatalf("%d chunks are free", p.count)
		}
	}
	p.sent(t)
}

// The kernel is called as often as it takes, not for ever, and what it says is understood.
func TestPush(t *testing.T) {
	p := play(t, small)
	put := func(n int) {
		for i := range n {
			p.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(60, i))), 0, 1)
		}
	}
	if p.Notify(); p.sends != 0 {
		t.Fatal("called for nothing")
	}
	put(100)
	p.answers = []unix.Errno{unix.EAGAIN, unix.EAGAIN, unix.EAGAIN, 0}
	p.onSend = func() { p.txEnd.take(min(32, p.txEnd.ready())) }
	if p.Notify(); p.sends != 4 || p.unsent || p.tx.pending() != 0 {
		t.Errorf("called %d times, %d are left", p.sends, p.tx.pending())
	}
	put(1)
	p.onSend, p.sends = nil, 0
	p.answers = []unix.Errno{unix.ENOBUFS, unix.EAGAIN}
	p.Notify()
	if p.sends != 1 || !p.unsent || p.LongestSleep() < 0 {
		t.Errorf("called %d times though nothing moves, sleeps for %v", p.sends, p.LongestSleep())
	}
	var b virtionet.Burst
	p.Receive(&b)
	if p.Receive(&b); p.unsent || p.sends != 3 || p.LongestSleep() >= 0 {
		t.Errorf("not tried again: called %d times", p.sends)
	}
	atomic.StoreUint32(p.tx.flags, 0)
	put(1)
	if p.Notify(); p.sends != 3 || p.unsent {
		t.Error("called though it goes on by itself")
	}
	atomic.StoreUint32(p.tx.flags, unix.XDP_RING_NEED_WAKEUP)
	put(1)
	p.answers = []unix.Errno{unix.ENETDOWN}
	if p.Notify(); !p.condition.Down() || len(p.WakeFDs()) != 0 {
		t.Error("not down")
	}
	if put(1); p.Counters().Drops[virtionet.DropLinkDown] != 1 {
		t.Errorf("drops: %v", p.Counters().Drops)
	}
	p.condition.Set(netdev.State{Up: true, Runs: true, MTU: 1500})
	atomic.StoreUint32(p.fill.flags, unix.XDP_RING_NEED_WAKEUP)
	if p.Receive(&b); p.receives != 1 {
		t.Errorf("asked %d times to look at the fill ring", p.receives)
	}
}

// Frames pass without an allocation.
func TestNoAllocations(t *testing.T) {
	p := play(t, whole)
	frame, long := nettest.Payload(64, 1), nettest.Payload(9000, 1)
	var b virtionet.Burst
	turn := func() {
		p.arrive(t, frame, 3840)
		p.arrive(t, long, 3840)
		p.Receive(&b)
		p.Transmit(&b, 0, b.Len())
		if p.Transmit(&b, 1, b.Len()) != 1 { // it takes a call of its own
			t.Fatal("not sent")
		}
		p.Release(&b, 0, b.Len())
		p.Notify()
		for n := p.txEnd.ready(); n > 0; n-- {
			p.doneEnd.put(p.txEnd.get(0).addr)
			p.txEnd.take(1)
		}
		p.doneEnd.publish()
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Who is to sleep is not kept awake by frames that no one takes while the interface is down.
func TestFramesWhileDown(t *testing.T) {
	p := play(t, small)
	p.arrive(t, nettest.Payload(100, 1), 2000)
	var b virtionet.Burst
	for _, up := range []bool{true, false, true} {
		p.condition.Set(netdev.State{Up: up, Runs: up, MTU: 1500})
		if frames, _ := p.EnableKicks(false); frames != up {
			t.Errorf("up %v: frames %v", up, frames)
		}
		p.DisableKicks()
		if worked := p.Receive(&b); worked != up || b.Len() > 0 != up {
			t.Errorf("up %v: %d frames", up, b.Len())
		}
		p.Recover()
	}
}

// TestVanishedPart: a frame in several chunks whose end vanishes while it is copied has not happened. What is sent next goes out
// alone, and no chunk is the kernel's twice.
func TestVanishedPart(t *testing.T) {
	gone, err := unix.Mmap(-1, 0, 8192, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(gone)
	p := play(t, whole)
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() == nil {
				t.Error("memory that is not there was read")
			}
		}()
		p.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(5000, 1), gone[:2000])), 0, 1)
	}()
	p.Recover()
	if n := p.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(60, 1))), 0, 1); n != 1 {
		t.Fatalf("%d frames were sent after it", n)
	}
	if p.tx.next != 1 || p.count != txChunks-1 {
		t.Errorf("%d descriptors are in the ring, and %d chunks of %d free", p.tx.next, p.count, txChunks)
	}
	if d := p.tx.at(0); d.n != 60 || d.options&optionContinued != 0 {
		t.Errorf("%+v is sent", d)
	}
}
