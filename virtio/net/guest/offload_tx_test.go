package guest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// guestReceiver is a guest with n receive buffers of each of the given layouts.
func guestReceiver(t *testing.T, takes virtionet.Offloads, mergeable bool, n int, layout ...int) nettest.Receiver {
	q := offloading(0, takes)
	q.Mergeable = mergeable
	r := newGuestRig(t, vringtest.Config{Size: 256, HeapBytes: 32 << 20}, q)
	buffers := map[uint16][]vring.Part{}
	offer := func(parts []vring.Part) {
		head, err := r.rx.Driver.Add(nil, parts)
		if err != nil {
			t.Fatal(err)
		}
		buffers[head] = parts
		r.rx.Driver.Publish()
	}
	for range n {
		var parts []vring.Part
		for _, size := range layout {
			addr, _ := r.rx.Alloc(size)
			parts = append(parts, vringtest.Part(addr, size))
		}
		offer(parts)
	}
	take := func() (headers []virtionet.Header, frames [][]byte) {
		r.rx.Driver.Completed()
		var u vring.Used
		next := func() (b []byte) {
			if !r.rx.Driver.Take(&u) {
				return nil
			}
			parts := buffers[u.Head]
			for _, p := range parts {
				k := min(int(u.Len)-len(b), int(p.Len))
				b = append(b, r.rx.Read(mem.GPA(p.Addr), k)...)
			}
			offer(parts)
			return b
		}
		for b := next(); b != nil; b = next() {
			h := nettest.ParseHeader(b)
			for range h.NumBuffers - 1 {
				b = append(b, next()...)
			}
			headers, frames = append(headers, h), append(frames, b[virtionet.HeaderLen:])
		}
		return headers, frames
	}
	return nettest.Receiver{Name: fmt.Sprintf("guest, takes %#x, mergeable %v, %d of %v", takes, mergeable, n, layout), Port: r.Port, Take: take}
}

func TestLargeSegmentsPass(t *testing.T) {
	pages := slices.Repeat([]int{4096}, 17)
	for _, r := range []nettest.Receiver{
		guestReceiver(t, nettest.AllOffloads, true, 200, 1536),
		guestReceiver(t, nettest.AllOffloads, true, 64, 12, 2036),
		guestReceiver(t, nettest.AllOffloads, false, 8, append([]int{12}, pages...)...),
	} {
		nettest.LargeSegmentsPass(t, r)
	}
}

func TestLargeSegmentsAreCut(t *testing.T) {
	for _, r := range []nettest.Receiver{
		guestReceiver(t, 0, true, 64, 2048),
		guestReceiver(t, 0, true, 64, 500),
		guestReceiver(t, 0, false, 4, 12, 1600),
		guestReceiver(t, virtionet.OffloadCsum|virtionet.OffloadECN, true, 3, 2048),
	} {
		nettest.LargeSegmentsAreCut(t, r)
	}
}

func TestChecksumsAreCompletedOrPass(t *testing.T) {
	for _, r := range []nettest.Receiver{
		guestReceiver(t, 0, true, 4, 2048), guestReceiver(t, virtionet.OffloadDataValid, true, 16, 100),
		guestReceiver(t, virtionet.OffloadCsum, true, 4, 2048),
	} {
		nettest.ChecksumsAreCompletedOrPass(t, r)
	}
}

// That a checksum is right is told to those who want to know.
func TestValidDataAreSaidToBe(t *testing.T) {
	nettest.ValidDataAreSaidToBe(t, guestReceiver(t, virtionet.OffloadCsum|virtionet.OffloadDataValid, true, 4, 2048), virtionet.FlagDataValid)
	nettest.ValidDataAreSaidToBe(t, guestReceiver(t, 0, true, 4, 2048), 0)
}

// A receiver takes some kinds of large segments and not others.
func TestEachKindIsCutByItself(t *testing.T) {
	kinds := map[string]virtionet.Offloads{"tcp4": virtionet.OffloadTSO4 | virtionet.OffloadECN, "tcp6": virtionet.OffloadTSO6 | virtionet.OffloadECN, "udp4": virtionet.OffloadUSO4, "udp6": virtionet.OffloadUSO6}
	for _, s := range packettest.Shapes(t, 5000)[:4] {
		for name, kind := range kinds {
			for _, lacks := range []virtionet.Offloads{0, virtionet.OffloadECN, virtionet.OffloadCsum} {
				takes := (virtionet.OffloadCsum | kind) &^ lacks
				r := guestReceiver(t, takes, true, 64, 2048)
				r.SendAll(t, []virtionet.Frame{nettest.Unfinished(t, s, nettest.GSOHeader(s, 1000))})
				passes := name == s.Name && (kinds[s.Name]|virtionet.OffloadCsum)&^takes == 0
				if c := r.Port.Counters(); (c.Offloaded == 1) != passes || (c.Segmented == 1) == passes {
					t.Errorf("%s to one that takes %#x: %d passed, %d cut", s.Name, takes, c.Offloaded, c.Segmented)
				}
			}
		}
	}
}

// A frame that waits in its middle goes on there, also when its receiver has become
// another one meanwhile that takes it whole: what came before is not sent twice.
func TestWaitingFrameGoesOnWhereItWas(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 4}, offloading(0, 0))
	buffers := map[uint16]receiveBuffer{}
	add := func() {
		head := r.rx.Driver.NextHead()
		buffers[head] = r.offer(t, 2048)
	}
	s := packettest.Shapes(t, 5*1000)[0]
	frames := []virtionet.Frame{nettest.Unfinished(t, s, nettest.GSOHeader(s, 1000))}
	add()
	add()
	var got []byte
	collect := func(want int) {
		t.Helper()
		data, _ := r.received(buffers)
		if len(data) != want {
			t.Fatalf("%d pieces, want %d", len(data), want)
		}
		for _, b := range data {
			got = append(got, b[virtionet.HeaderLen+int(s.Layout.End):]...)
		}
	}
	for range 2 {
		if n := r.txFrames(frames); n != 0 {
			t.Fatalf("%d frames done without room", n)
		}
	}
	collect(2)
	add()
	if n := r.txFrames(frames); n != 0 {
		t.Fatalf("%d frames done without room", n)
	}
	collect(1)
	q := *r.cur
	q.Takes = nettest.AllOffloads
	r.install(&q)
	add()
	add()
	if n := r.txFrames(frames); n != 1 {
		t.Fatalf("%d frames done", n)
	}
	collect(2)
	if !bytes.Equal(got, s.Payload()) {
		t.Error("the payload differs")
	}
	if c := r.Counters(); c.Segmented != 1 || c.Pieces != 5 || c.Offloaded != 0 || c.TxPackets != 5 {
		t.Errorf("counted %+v", c)
	}
}

func TestOffloadsDoNotAllocate(t *testing.T) {
	s := packettest.Shapes(t, 9000)[0]
	var raw [virtionet.HeaderLen]byte
	h := nettest.GSOHeader(s, 1448)
	h.Put(&raw)
	for _, takes := range []virtionet.Offloads{0, nettest.AllOffloads} {
		src := newGuestRig(t, vringtest.Config{Indirect: true}, offloading(nettest.AllOffloads, 0))
		dst := newGuestRig(t, vringtest.Config{}, offloading(0, takes))
		addr, b := src.tx.Alloc(virtionet.HeaderLen + len(s.Frame))
		copy(b, raw[:])
		copy(b[virtionet.HeaderLen:], s.Unfinished())
		out := []vring.Part{vringtest.Part(addr, 100), vringtest.Part(addr+100, len(b)-100)}
		var in [][]vring.Part
		for range 8 {
			addr, _ := dst.rx.Alloc(1600)
			in = append(in, []vring.Part{vringtest.Part(addr, 1600)})
		}
		var frames [8]virtionet.Frame
		var u vring.Used
		allocs := testing.AllocsPerRun(1000, func() {
			src.tx.Driver.Add(out, nil)
			src.tx.Driver.Publish()
			for _, p := range in {
				dst.rx.Driver.Add(nil, p)
			}
			dst.rx.Driver.Publish()
			n := src.rxFrames(frames[:])
			src.release(dst.txFrames(frames[:n]))
			for _, q := range []*vring.Driver{src.tx.Driver, dst.rx.Driver} {
				q.Completed()
				for q.Take(&u) {
				}
			}
		})
		if c := dst.Counters(); allocs != 0 || c.TxPackets < 1000 {
			t.Errorf("%v allocations per frame; %d frames sent", allocs, c.TxPackets)
		}
	}
}
