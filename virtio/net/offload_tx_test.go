package virtionet

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/gopacket/layers"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// receiver is a port to which the test sends, seen from behind its rings: take returns
// the headers and frames that have come out since the last time, and gives the buffers
// back.
type receiver struct {
	name string
	port interface {
		TxBurst([]Frame) int
		Counters() *Counters
	}
	take func() (headers []Header, frames [][]byte)
}

func header(raw []byte) (h Header) {
	h.get((*[LegacyHeaderLen]byte)(raw))
	h.NumBuffers = le16(raw[numBuffersOffset:])
	return h
}

// guestReceiver is a guest with n receive buffers of each of the given layouts.
func guestReceiver(t *testing.T, takes Offloads, mergeable bool, n int, layout ...int) receiver {
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
	take := func() (headers []Header, frames [][]byte) {
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
			h := header(b)
			for range h.NumBuffers - 1 {
				b = append(b, next()...)
			}
			headers, frames = append(headers, h), append(frames, b[HeaderLen:])
		}
		return headers, frames
	}
	return receiver{fmt.Sprintf("guest, takes %#x, mergeable %v, %d of %v", takes, mergeable, n, layout), r.Guest, take}
}

// nicReceiver is a NIC with rings of n entries.
func nicReceiver(t *testing.T, features virtio.Features, n, mtu int) receiver {
	r := newNICRig(t, rigFeatures|features, n, mtu)
	take := func() (headers []Header, frames [][]byte) {
		r.devTx.ResetViews()
		r.devTx.Available()
		var c vring.Chain
		for r.devTx.Pop(&c) {
			b := vringtest.Join(c.Read)
			headers, frames = append(headers, header(b)), append(frames, b[HeaderLen:])
			r.devTx.Push(c.Head, 0)
		}
		r.devTx.Publish()
		return headers, frames
	}
	return receiver{fmt.Sprintf("NIC, %v, %d entries", features, n), r.NIC, take}
}

// unfinished is the shape's frame as it comes out of an intake, its data in views of
// different lengths.
func unfinished(t *testing.T, s packettest.Shape, h Header) Frame {
	t.Helper()
	b := s.Unfinished()
	f := Frame{Len: len(b)}
	for n := 7; len(b) > 0; n = n*3 + 1 {
		n := min(n, len(b))
		f.Data = append(f.Data, b[:n])
		b = b[n:]
	}
	var raw [HeaderLen]byte
	h.put(&raw)
	if !new(intake).inspect(0, &f, (*[LegacyHeaderLen]byte)(raw[:]), allOffloads|OffloadDataValid) {
		t.Fatalf("%s: the header is refused: %+v", s.Name, h)
	}
	return f
}

// sendAll sends frames with whatever patience it takes, and returns what arrives.
func (r receiver) sendAll(t *testing.T, frames []Frame) (headers []Header, out [][]byte) {
	t.Helper()
	for idle := 0; len(frames) > 0; idle++ {
		done := r.port.TxBurst(frames[:min(len(frames), MaxBurst)])
		frames = frames[done:]
		h, o := r.take()
		headers, out = append(headers, h...), append(out, o...)
		if done+len(o) > 0 {
			idle = 0
		} else if idle > 2 {
			t.Fatalf("%s: %d frames wait for ever", r.name, len(frames))
		}
	}
	return headers, out
}

// Whoever takes large segments gets them as they are.
func TestLargeSegmentsPass(t *testing.T) {
	for _, r := range []receiver{
		guestReceiver(t, allOffloads, true, 200, 1536),
		guestReceiver(t, allOffloads, true, 64, 12, 2036),
		guestReceiver(t, allOffloads, false, 8, 12, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096),
		nicReceiver(t, virtio.NetOffloads, 64, 0),
		nicReceiver(t, virtio.NetOffloads, 256, 9000),
		nicReceiver(t, virtio.NetOffloads, 16, 65535),
	} {
		for _, total := range []int{2000, 20000, 65000} {
			for _, s := range packettest.Shapes(t, total) {
				want := gsoHeader(s, 1400)
				headers, frames := r.sendAll(t, []Frame{unfinished(t, s, want), frame(payload(60, 1))})
				if len(frames) != 2 || !bytes.Equal(frames[0], s.Unfinished()) || !bytes.Equal(frames[1], payload(60, 1)) {
					t.Fatalf("%s: %s of %d: %d frames, or they differ; drops %v", r.name, s.Name, total, len(frames), r.port.Counters().Drops)
				}
				headers[0].NumBuffers, headers[1].NumBuffers = 0, 0
				if headers[0] != want || headers[1] != (Header{}) {
					t.Fatalf("%s: %s of %d: headers %+v, want %+v", r.name, s.Name, total, headers, want)
				}
			}
		}
		shapes := uint64(len(packettest.Shapes(t, 1)))
		if c := r.port.Counters(); c.Offloaded != 3*shapes || c.Segmented != 0 || c.Checksummed != 0 || c.TxPackets != 6*shapes {
			t.Errorf("%s: counted %+v", r.name, c)
		}
	}
}

// Whoever does not gets what an honest stack would have sent in the first place.
func TestLargeSegmentsAreCut(t *testing.T) {
	const total, size = 20000, 1400
	const pieces = (total + size - 1) / size
	for _, r := range []receiver{
		guestReceiver(t, 0, true, 64, 2048),
		guestReceiver(t, 0, true, 64, 500),
		guestReceiver(t, 0, false, 4, 12, 1600),
		guestReceiver(t, OffloadCsum|OffloadECN, true, 3, 2048),
		nicReceiver(t, 0, 4, 0),
		nicReceiver(t, 0, 256, 9000),
		nicReceiver(t, virtio.NetCsum, 16, 0),
		nicReceiver(t, virtio.NetOffloads, 16, 0), // whose ring is too small for the longest
	} {
		shapes := packettest.Shapes(t, total)
		for _, s := range shapes {
			headers, frames := r.sendAll(t, []Frame{unfinished(t, s, gsoHeader(s, size)), frame(payload(60, 1))})
			if len(frames) != pieces+1 || !bytes.Equal(frames[pieces], payload(60, 1)) {
				t.Fatalf("%s: %s: %d frames, want %d; drops %v", r.name, s.Name, len(frames), pieces+1, r.port.Counters().Drops)
			}
			var data []byte
			for i, piece := range frames[:pieces] {
				h := headers[i]
				if h.NumBuffers = 0; h != (Header{}) {
					if h != csumHeader(s) {
						t.Fatalf("%s: %s: piece %d has the header %+v", r.name, s.Name, i, h)
					}
					var sum packet.Sum
					sum.Add(piece[h.CsumStart:])
					packet.Complete(piece, s.ChecksumField(), &sum)
				}
				checkPiece(t, r.name+": "+s.Name, piece, i, i*size, i == pieces-1)
				data = append(data, piece[s.Layout.End:]...)
			}
			if !bytes.Equal(data, s.Payload()) {
				t.Fatalf("%s: %s: the payload differs", r.name, s.Name)
			}
		}
		n := uint64(len(shapes))
		if c := r.port.Counters(); c.Offloaded != 0 || c.Segmented != n || c.Pieces != pieces*n || c.Checksummed != 0 || c.TxPackets != (pieces+1)*n {
			t.Errorf("%s: counted %+v", r.name, c)
		}
	}
}

func checkPiece(t *testing.T, name string, frame []byte, index, off int, last bool) {
	t.Helper()
	p, err := packettest.Verify(frame)
	if err != nil {
		t.Fatalf("%s: piece %d: %v", name, index, err)
	}
	if ip, ok := p.NetworkLayer().(*layers.IPv4); ok && ip.Id != packettest.Identification+uint16(index) {
		t.Errorf("%s: piece %d has the identification %#x", name, index, ip.Id)
	}
	if tcp, ok := p.TransportLayer().(*layers.TCP); ok && (tcp.Seq != packettest.Sequence+uint32(off) || tcp.FIN != last || tcp.PSH != last || tcp.CWR != (off == 0)) {
		t.Errorf("%s: piece %d: sequence %#x, FIN %v, PSH %v, CWR %v", name, index, tcp.Seq, tcp.FIN, tcp.PSH, tcp.CWR)
	}
}

// A receiver takes some kinds of large segments and not others.
func TestEachKindIsCutByItself(t *testing.T) {
	kinds := map[string]Offloads{"tcp4": OffloadTSO4 | OffloadECN, "tcp6": OffloadTSO6 | OffloadECN, "udp4": OffloadUSO4, "udp6": OffloadUSO6}
	for _, s := range packettest.Shapes(t, 5000)[:4] {
		for name, kind := range kinds {
			for _, lacks := range []Offloads{0, OffloadECN, OffloadCsum} {
				takes := (OffloadCsum | kind) &^ lacks
				r := guestReceiver(t, takes, true, 64, 2048)
				r.sendAll(t, []Frame{unfinished(t, s, gsoHeader(s, 1000))})
				passes := name == s.Name && (kinds[s.Name]|OffloadCsum)&^takes == 0
				if c := r.port.Counters(); (c.Offloaded == 1) != passes || (c.Segmented == 1) == passes {
					t.Errorf("%s to one that takes %#x: %d passed, %d cut", s.Name, takes, c.Offloaded, c.Segmented)
				}
			}
		}
	}
}

func TestChecksumsAreCompletedOrPass(t *testing.T) {
	for _, s := range packettest.Shapes(t, 901) {
		for _, r := range []receiver{
			guestReceiver(t, 0, true, 4, 2048), guestReceiver(t, OffloadDataValid, true, 16, 100), guestReceiver(t, OffloadCsum, true, 4, 2048),
			nicReceiver(t, 0, 4, 0), nicReceiver(t, virtio.NetCsum, 4, 0),
		} {
			f := unfinished(t, s, csumHeader(s))
			headers, frames := r.sendAll(t, []Frame{f})
			if len(frames) != 1 {
				t.Fatalf("%s: %s: %d frames", r.name, s.Name, len(frames))
			}
			h := headers[0]
			h.NumBuffers = 0
			c := r.port.Counters()
			switch h {
			case Header{}:
				if _, err := packettest.Verify(frames[0]); err != nil || !bytes.Equal(frames[0], s.Frame) || c.Checksummed != 1 {
					t.Errorf("%s: %s: %v, counted %+v", r.name, s.Name, err, c)
				}
			case csumHeader(s):
				if !bytes.Equal(frames[0], s.Unfinished()) || c.Offloaded != 1 {
					t.Errorf("%s: %s: the frame differs, or counted %+v", r.name, s.Name, c)
				}
			default:
				t.Errorf("%s: %s: header %+v", r.name, s.Name, h)
			}
			if !bytes.Equal(vringtest.Join(f.Data), s.Unfinished()) {
				t.Errorf("%s: %s: the source was changed, which may go to others too", r.name, s.Name)
			}
		}
	}
}

// That a checksum is right is told to those who want to know.
func TestValidDataAreSaidToBe(t *testing.T) {
	for _, c := range []struct {
		r    receiver
		want uint8
	}{
		{guestReceiver(t, OffloadCsum|OffloadDataValid, true, 4, 2048), flagDataValid},
		{guestReceiver(t, 0, true, 4, 2048), 0},
		{nicReceiver(t, virtio.NetOffloads, 64, 0), 0},
	} {
		for range 3 { // a frame's place is used again
			f := frame(payload(500, 1))
			f.Header.Flags = flagDataValid
			headers, frames := c.r.sendAll(t, []Frame{f})
			if len(frames) != 1 || headers[0].Flags != c.want || !bytes.Equal(frames[0], payload(500, 1)) {
				t.Errorf("%s: %d frames, headers %+v, want flags %d", c.r.name, len(frames), headers, c.want)
			}
		}
	}
}

// Pieces must not be longer than the receiver's MTU, whether it or we cut.
func TestPiecesAboveTheMTUAreDropped(t *testing.T) {
	s := packettest.Shapes(t, 9000)[0]
	fits := 1518 - int(s.Layout.End)
	for _, r := range []receiver{nicReceiver(t, virtio.NetOffloads, 64, 0), nicReceiver(t, 0, 64, 0)} {
		r.sendAll(t, []Frame{unfinished(t, s, gsoHeader(s, fits)), unfinished(t, s, gsoHeader(s, fits+1))})
		if c := r.port.Counters(); c.Drops[DropTooLong] != 1 || c.Offloaded+c.Segmented != 1 {
			t.Errorf("%s: counted %+v", r.name, c)
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
	frames := []Frame{unfinished(t, s, gsoHeader(s, 1000))}
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
			got = append(got, b[HeaderLen+int(s.Layout.End):]...)
		}
	}
	for range 2 {
		if n := r.TxBurst(frames); n != 0 {
			t.Fatalf("%d frames done without room", n)
		}
	}
	collect(2)
	add()
	if n := r.TxBurst(frames); n != 0 {
		t.Fatalf("%d frames done without room", n)
	}
	collect(1)
	q := *r.cur
	q.Takes = allOffloads
	r.install(&q)
	add()
	add()
	if n := r.TxBurst(frames); n != 1 {
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
	var raw [HeaderLen]byte
	h := gsoHeader(s, 1448)
	h.put(&raw)
	for _, takes := range []Offloads{0, allOffloads} {
		src := newGuestRig(t, vringtest.Config{Indirect: true}, offloading(allOffloads, 0))
		dst := newGuestRig(t, vringtest.Config{}, offloading(0, takes))
		addr, b := src.tx.Alloc(HeaderLen + len(s.Frame))
		copy(b, raw[:])
		copy(b[HeaderLen:], s.Unfinished())
		out := []vring.Part{vringtest.Part(addr, 100), vringtest.Part(addr+100, len(b)-100)}
		var in [][]vring.Part
		for range 8 {
			addr, _ := dst.rx.Alloc(1600)
			in = append(in, []vring.Part{vringtest.Part(addr, 1600)})
		}
		var frames [8]Frame
		var u vring.Used
		allocs := testing.AllocsPerRun(1000, func() {
			src.tx.Driver.Add(out, nil)
			src.tx.Driver.Publish()
			for _, p := range in {
				dst.rx.Driver.Add(nil, p)
			}
			dst.rx.Driver.Publish()
			n := src.RxBurst(frames[:])
			src.Release(dst.TxBurst(frames[:n]))
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
