package guest

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// bothRings runs a test with split and with packed rings.
func bothRings(t *testing.T, test func(t *testing.T)) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed=%v", packed), func(t *testing.T) {
			packedRings = packed
			defer func() { packedRings = false }()
			test(t)
		})
	}
}

// What Linux guests send each other with the offloads that they have by default is plain, in
// the layouts that it has: large segments in up to 18 pieces, into mergeable buffers or into a
// chain of pages; and it arrives as it was.
func TestFramesOfLinuxArePlain(t *testing.T) {
	headers := virtionet.HeaderLen + 66
	pages := slices.Repeat([]int{4096}, 17)
	bothRings(t, func(t *testing.T) {
		for name, to := range map[string]func() nettest.Receiver{
			"mergeable": func() nettest.Receiver { return guestReceiver(t, nettest.AllOffloads, true, 200, 1536) },
			"pages": func() nettest.Receiver {
				return guestReceiver(t, nettest.AllOffloads, false, 8, append([]int{12}, pages...)...)
			},
		} {
			if name == "pages" && packedRings {
				continue // there the rig's driver makes chains of slots, as Linux never does
			}
			r := to()
			r.Port.(*Port).txFrames(nil) // sees that there are buffers
			var want uint64
			for _, total := range []int{60, 1400, 5000, 60000} {
				for _, cut := range [][]int{nil, {headers}, append([]int{headers}, slices.Repeat([]int{3600}, 17)...), {virtionet.HeaderLen, 66, 800}} {
					for _, s := range packettest.Shapes(t, total) {
						from := newGuestRig(t, vringtest.Config{Indirect: true, IndirectParts: 32}, offloading(nettest.AllOffloads, 0))
						from.transmitWith(t, nettest.GSOHeader(s, 1400), s.Unfinished(), cut...)
						from.transmitWith(t, nettest.CsumHeader(s), s.Unfinished(), cut...)
						from.transmitWith(t, virtionet.Header{}, s.Frame, cut...)
						var b virtionet.Burst
						sent := 0
						for from.Receive(&b) {
							n := r.Port.(*Port).Transmit(&b, 0, b.Len())
							if n == 0 {
								t.Fatalf("%s: %s of %d in %v: %d frames wait after %d", name, s.Name, total, cut, b.Len(), sent)
							}
							from.Release(&b, 0, n)
							sent += n
						}
						want += uint64(len(s.Frame))
						h, frames := r.Take()
						if len(frames) != 3 || !bytes.Equal(frames[0], s.Unfinished()) || !bytes.Equal(frames[1], s.Unfinished()) || !bytes.Equal(frames[2], s.Frame) {
							t.Fatalf("%s: %s of %d in %v: %d frames, or they differ", name, s.Name, total, cut, len(frames))
						}
						gso := nettest.GSOHeader(s, 1400)
						if len(s.Payload()) <= 1400 {
							gso = nettest.CsumHeader(s)
						}
						for i, w := range []virtionet.Header{gso, nettest.CsumHeader(s), {}} {
							if w.NumBuffers = h[i].NumBuffers; h[i] != w {
								t.Fatalf("%s: %s of %d: header %+v, want %+v", name, s.Name, total, h[i], w)
							}
						}
						if c := from.Counters(); c.Plain != 3 || c.RxPackets != 3 || c.RxBytes != 3*uint64(len(s.Frame)) || c.Dropped() != 0 {
							t.Fatalf("%s: %s of %d in %v: counted %+v", name, s.Name, total, cut, c)
						}
					}
				}
			}
			if c := r.Port.Counters(); c.TxBytes != 3*want || c.Dropped() != 0 {
				t.Errorf("%s: counted %+v, want %d bytes", name, c, 3*want)
			}
		}
	})
}

// A burst in which a piece of one frame has vanished has not happened, whatever buffers its
// frames would have filled: nothing is published, and nothing is lost.
func TestVanishedPieceUndoesTheBurst(t *testing.T) {
	bothRings(t, func(t *testing.T) {
		gone := vanished(t, 4096)
		r := newGuestRig(t, vringtest.Config{Size: 16}, running)
		buffers := map[uint16]receiveBuffer{}
		for range 10 {
			buffers[r.rx.Driver.NextHead()] = r.offer(t, 500)
		}
		r.txFrames(nil) // sees that there are buffers
		frames := [][]byte{nettest.Payload(100, 1), nettest.Payload(1400, 2), nettest.Payload(1300, 3)}
		burst := func(b *virtionet.Burst, last []byte) {
			b.Reset()
			b.Add(virtionet.AddressOf(frames[0]), 100)
			for _, f := range frames[1:] {
				b.From.Add(vring.Piece{Addr: virtionet.AddressOf(f), N: 700})
				rest := f[700:]
				if len(f) == 1300 && last != nil {
					rest = last[:600]
				}
				b.From.Add(vring.Piece{Addr: virtionet.AddressOf(rest), N: uint32(len(rest))})
				b.AddPieces(uint32(len(f)))
			}
		}
		var b virtionet.Burst
		burst(&b, gone)
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		func() {
			defer func() {
				if err, ok := recover().(interface{ Addr() uintptr }); !ok || err.Addr()-vringtest.Address(gone) >= 600 {
					t.Errorf("the burst was not broken off in the memory that is gone: %v", err)
				}
			}()
			r.Transmit(&b, 0, b.Len())
		}()
		r.Recover()
		if n := r.rx.Driver.Completed(); n != 0 || r.rx.Device.Err() != nil || r.Counters().TxPackets != 0 {
			t.Fatalf("%d buffers were published of a burst that was broken off; %v, counted %+v", n, r.rx.Device.Err(), r.Counters())
		}
		burst(&b, nil)
		if n := r.Transmit(&b, 0, b.Len()); n != 3 {
			t.Fatalf("%d frames sent after that, want 3", n)
		}
		data, lens := r.received(buffers)
		if !slices.Equal(lens, []uint32{112, 500, 500, 412, 500, 500, 312}) {
			t.Fatalf("buffers of %v bytes", lens)
		}
		var got []byte
		for i, d := range data {
			if i == 0 || i == 1 || i == 4 {
				d = d[virtionet.HeaderLen:]
			}
			got = append(got, d...)
		}
		if !bytes.Equal(got, slices.Concat(frames...)) {
			t.Error("the frames differ")
		}
	})
}

// A large segment for a guest that takes none is cut, goes on where it was after a wait for
// room, and leaves the frames beside it plain.
func TestPlainSegmentIsCutAndGoesOn(t *testing.T) {
	bothRings(t, func(t *testing.T) {
		s := packettest.Shapes(t, 10*1000)[0]
		from := newGuestRig(t, vringtest.Config{Indirect: true}, offloading(nettest.AllOffloads, 0))
		to := newGuestRig(t, vringtest.Config{}, offloading(0, 0))
		for _, h := range []virtionet.Header{{}, nettest.GSOHeader(s, 1000), {}} {
			frame := s.Unfinished()
			if h.Flags == 0 {
				frame = nettest.Payload(60, 1)
			}
			from.transmitWith(t, h, frame, virtionet.HeaderLen+66)
		}
		var b virtionet.Burst
		if !from.Receive(&b) || !b.Plain() || b.Len() != 3 {
			t.Fatalf("%d frames, plain %v", b.Len(), b.Plain())
		}
		buffers := map[uint16]receiveBuffer{}
		var got []byte
		arrived := 0
		for sent := 0; sent < 3; {
			buffers[to.rx.Driver.NextHead()] = to.offer(t, 2048)
			if sent == 0 {
				to.txFrames(nil) // sees that there are buffers
			}
			done := to.Transmit(&b, sent, 3)
			from.Release(&b, sent, sent+done)
			sent += done
			data, _ := to.received(buffers)
			for _, d := range data {
				if arrived++; len(d) > 100 {
					got = append(got, d[virtionet.HeaderLen+int(s.Layout.End):]...)
				}
			}
			if arrived > 20 {
				t.Fatal("segments come again")
			}
		}
		if arrived != 12 || !bytes.Equal(got, s.Payload()) {
			t.Errorf("%d frames arrived, want 12, or the payload differs", arrived)
		}
		if c := to.Counters(); c.Segmented != 1 || c.Pieces != 10 || c.TxPackets != 12 {
			t.Errorf("counted %+v", c)
		}
		if c := from.Counters(); c.Plain != 2 || c.RxPackets != 3 {
			t.Errorf("counted %+v, want 2 plain of 3", c)
		}
	})
}

// A guest that takes no unfinished checksums has buffers for some of a burst, and the first frame needs
// several places: the guest gets it, with its checksum, rather than that the burst waits for buffers that
// the guest offers only after something has come. So do iPXE, whose buffers have the header apart, and
// Linux, which fills its ring up after many buffers were used.
func TestUnfinishedFrameInSeveralPlacesGoesOut(t *testing.T) {
	s := packettest.Shapes(t, 9000)[0]
	bothRings(t, func(t *testing.T) {
		for name, to := range map[string]nettest.Receiver{
			"header apart": guestReceiver(t, 0, false, 8, virtionet.HeaderLen, 9100),
			"mergeable":    guestReceiver(t, 0, true, 50, 1536),
		} {
			from := newGuestRig(t, vringtest.Config{Indirect: true, HeapBytes: 4 << 20}, offloading(nettest.AllOffloads, 0))
			for range 20 {
				from.transmitWith(t, nettest.CsumHeader(s), s.Unfinished(), virtionet.HeaderLen+66)
			}
			var b virtionet.Burst
			if !from.Receive(&b) || !b.Plain() || b.Len() != 20 {
				t.Fatalf("%s: %d frames, plain %v", name, b.Len(), b.Plain())
			}
			to.Port.(*Port).txFrames(nil) // sees that there are buffers
			n := to.Port.Transmit(&b, 0, 20)
			if n == 0 || n == 20 {
				t.Fatalf("%s: %d frames of 20 were sent", name, n)
			}
			if _, frames := to.Take(); len(frames) != n || !bytes.Equal(frames[0], s.Frame) {
				t.Errorf("%s: %d frames of %d arrived, or the first differs", name, len(frames), n)
			}
			from.Release(&b, 0, n)
		}
	})
}
