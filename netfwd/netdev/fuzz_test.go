package netdev_test

import (
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// FuzzKernelFrame has a kernel hand over any header with any frame, which is then sent through another interface. It
// is counted once on the way in, and what goes out of it is as long as may be, finished as far as was agreed upon.
func FuzzKernelFrame(f *testing.F) {
	for _, s := range packettest.Shapes(f, 3000) {
		f.Add(raw(nettest.GSOHeader(s, 1000)), s.Unfinished(), uint16(len(s.Frame)), uint16(0))
		f.Add(raw(nettest.CsumHeader(s)), s.Unfinished(), uint16(len(s.Frame)), uint16(0xffff))
		h := nettest.GSOHeader(s, 0)
		f.Add(raw(h), s.Unfinished(), uint16(len(s.Frame)), uint16(0))
		h.CsumStart = 60000
		f.Add(raw(h), s.Frame[:60], uint16(60), uint16(0))
	}
	f.Fuzz(func(t *testing.T, header, frame []byte, says, offloads uint16) {
		frame = frame[:min(len(frame), 1<<14)]
		in := &kernel{leaves: nettest.AllOffloads, reads: []played{{frames: []arrival{good(0), {header, frame, int(says)}, good(1)}}}}
		out := &kernel{takes: virtionet.Offloads(offloads) & nettest.AllOffloads}
		from, _ := in.queue(t)
		to, condition := out.queue(t)
		var b virtionet.Burst
		came := 0
		for rounds := 0; rounds < 8; rounds++ {
			if from.Receive(&b); b.Len() == 0 {
				continue
			}
			for done, calls := 0, 0; done < b.Len(); calls++ {
				if done += to.Transmit(&b, done, b.Len()); calls == 2*b.Len() || done > b.Len() {
					t.Fatalf("%d of %d frames are done", done, b.Len())
				}
			}
			came += b.Len()
			from.Release(&b, 0, b.Len())
		}
		if c := from.Counters(); came < 2 || uint64(came) != c.RxPackets || c.RxPackets+c.Dropped() != 3 {
			t.Fatalf("%d frames came, counted %+v", came, c)
		}
		c := to.Counters()
		if uint64(len(out.written)) != c.TxPackets || c.TxPackets+c.Dropped() < uint64(came) {
			t.Fatalf("%d frames are written of %d, counted %+v", len(out.written), came, c)
		}
		for _, w := range out.written {
			h := nettest.ParseHeader(append(w.header, 0, 0))
			switch {
			case w.n < virtionet.MinFrame || w.n > virtionet.MaxFrame:
				t.Fatalf("a frame of %d bytes", w.n)
			case w.n > condition.MaxFrame() && !h.IsGSO():
				t.Fatalf("a frame of %d bytes, which is not to be cut", w.n)
			case h.Flags&virtionet.FlagNeedsCsum != 0 && out.takes&virtionet.OffloadCsum == 0:
				t.Fatalf("a checksum is left undone: %+v", h)
			case h.Flags&virtionet.FlagNeedsCsum != 0 && int(h.CsumStart)+int(h.CsumOffset)+2 > w.n:
				t.Fatalf("a checksum after the end of %d bytes: %+v", w.n, h)
			case h.IsGSO() && h.GSOSize == 0:
				t.Fatalf("segments of no bytes: %+v", h)
			}
		}
	})
}
