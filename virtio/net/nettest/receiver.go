package nettest

import (
	"bytes"
	"testing"

	"github.com/google/gopacket/layers"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring/vringtest"
)

// Receiver is a port to which the test sends, seen from behind its rings: Take returns
// the headers and frames that have come out since the last time, and gives the buffers
// back.
type Receiver struct {
	Name string
	Port interface {
		Transmit(b *virtionet.Burst, first, end int) int
		Counters() *virtionet.Counters
	}
	Take func() (headers []virtionet.Header, frames [][]byte)
}

// SendAll sends frames with whatever patience it takes, and returns what arrives.
func (r Receiver) SendAll(t *testing.T, frames []virtionet.Frame) (headers []virtionet.Header, out [][]byte) {
	t.Helper()
	var b virtionet.Burst
	for idle, first := 0, 0; len(frames) > 0; idle++ {
		if first == b.Len() {
			b.Truncate(copy(b.General(), frames))
			first = 0
		}
		done := r.Port.Transmit(&b, first, b.Len())
		first, frames = first+done, frames[done:]
		h, o := r.Take()
		headers, out = append(headers, h...), append(out, o...)
		if done+len(o) > 0 {
			idle = 0
		} else if idle > 2 {
			t.Fatalf("%s: %d frames wait for ever", r.Name, len(frames))
		}
	}
	return headers, out
}

// LargeSegmentsPass is for a port that takes large segments: they arrive as they are.
func LargeSegmentsPass(t *testing.T, r Receiver) {
	t.Helper()
	for _, total := range []int{2000, 20000, 65000} {
		for _, s := range packettest.Shapes(t, total) {
			want := GSOHeader(s, 1400)
			headers, frames := r.SendAll(t, []virtionet.Frame{Unfinished(t, s, want), Frame(Payload(60, 1))})
			if len(frames) != 2 || !bytes.Equal(frames[0], s.Unfinished()) || !bytes.Equal(frames[1], Payload(60, 1)) {
				t.Fatalf("%s: %s of %d: %d frames, or they differ; drops %v", r.Name, s.Name, total, len(frames), r.Port.Counters().Drops)
			}
			headers[0].NumBuffers, headers[1].NumBuffers = 0, 0
			if headers[0] != want || headers[1] != (virtionet.Header{}) {
				t.Fatalf("%s: %s of %d: headers %+v, want %+v", r.Name, s.Name, total, headers, want)
			}
		}
	}
	shapes := uint64(len(packettest.Shapes(t, 1)))
	if c := r.Port.Counters(); c.Offloaded != 3*shapes || c.Segmented != 0 || c.Checksummed != 0 || c.TxPackets != 6*shapes {
		t.Errorf("%s: counted %+v", r.Name, c)
	}
}

// LargeSegmentsAreCut is for one that does not: what arrives is what an honest stack would
// have sent in the first place.
func LargeSegmentsAreCut(t *testing.T, r Receiver) {
	t.Helper()
	const total, size = 20000, 1400
	const pieces = (total + size - 1) / size
	shapes := packettest.Shapes(t, total)
	for _, s := range shapes {
		headers, frames := r.SendAll(t, []virtionet.Frame{Unfinished(t, s, GSOHeader(s, size)), Frame(Payload(60, 1))})
		if len(frames) != pieces+1 || !bytes.Equal(frames[pieces], Payload(60, 1)) {
			t.Fatalf("%s: %s: %d frames, want %d; drops %v", r.Name, s.Name, len(frames), pieces+1, r.Port.Counters().Drops)
		}
		var data []byte
		for i, piece := range frames[:pieces] {
			h := headers[i]
			if h.NumBuffers = 0; h != (virtionet.Header{}) {
				if h != CsumHeader(s) {
					t.Fatalf("%s: %s: piece %d has the header %+v", r.Name, s.Name, i, h)
				}
				var sum packet.Sum
				sum.Add(piece[h.CsumStart:])
				packet.Complete(piece, s.ChecksumField(), &sum)
			}
			checkPiece(t, r.Name+": "+s.Name, piece, i, i*size, i == pieces-1)
			data = append(data, piece[s.Layout.End:]...)
		}
		if !bytes.Equal(data, s.Payload()) {
			t.Fatalf("%s: %s: the payload differs", r.Name, s.Name)
		}
	}
	n := uint64(len(shapes))
	if c := r.Port.Counters(); c.Offloaded != 0 || c.Segmented != n || c.Pieces != pieces*n || c.Checksummed != 0 || c.TxPackets != (pieces+1)*n {
		t.Errorf("%s: counted %+v", r.Name, c)
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

// ChecksumsAreCompletedOrPass sends frames whose checksum is left to be completed.
func ChecksumsAreCompletedOrPass(t *testing.T, r Receiver) {
	t.Helper()
	for _, s := range packettest.Shapes(t, 901) {
		f, before := Unfinished(t, s, CsumHeader(s)), *r.Port.Counters()
		headers, frames := r.SendAll(t, []virtionet.Frame{f})
		if len(frames) != 1 {
			t.Fatalf("%s: %s: %d frames", r.Name, s.Name, len(frames))
		}
		h, c := headers[0], r.Port.Counters()
		h.NumBuffers = 0
		switch h {
		case virtionet.Header{}:
			if _, err := packettest.Verify(frames[0]); err != nil || !bytes.Equal(frames[0], s.Frame) || c.Checksummed != before.Checksummed+1 {
				t.Errorf("%s: %s: %v, counted %+v", r.Name, s.Name, err, c)
			}
		case CsumHeader(s):
			if !bytes.Equal(frames[0], s.Unfinished()) || c.Offloaded != before.Offloaded+1 {
				t.Errorf("%s: %s: the frame differs, or counted %+v", r.Name, s.Name, c)
			}
		default:
			t.Errorf("%s: %s: header %+v", r.Name, s.Name, h)
		}
		if !bytes.Equal(vringtest.Join(f.Data), s.Unfinished()) {
			t.Errorf("%s: %s: the source was changed, which may go to others too", r.Name, s.Name)
		}
	}
}

// ValidDataAreSaidToBe sends frames whose checksums their sender vouches for, and wants these
// flags with them.
func ValidDataAreSaidToBe(t *testing.T, r Receiver, want uint8) {
	t.Helper()
	for range 3 { // a frame's place is used again
		f := Frame(Payload(500, 1))
		f.Header.Flags = virtionet.FlagDataValid
		headers, frames := r.SendAll(t, []virtionet.Frame{f})
		if len(frames) != 1 || headers[0].Flags != want || !bytes.Equal(frames[0], Payload(500, 1)) {
			t.Errorf("%s: %d frames, headers %+v, want flags %d", r.Name, len(frames), headers, want)
		}
	}
}

// PiecesAboveTheMTUAreDropped is for a port with an MTU of 1500, whether it or we cut.
func PiecesAboveTheMTUAreDropped(t *testing.T, r Receiver) {
	t.Helper()
	s := packettest.Shapes(t, 9000)[0]
	fits := virtionet.FrameOf(1500) - int(s.Layout.End)
	r.SendAll(t, []virtionet.Frame{Unfinished(t, s, GSOHeader(s, fits)), Unfinished(t, s, GSOHeader(s, fits+1))})
	if c := r.Port.Counters(); c.Drops[virtionet.DropTooLong] != 1 || c.Offloaded+c.Segmented != 1 {
		t.Errorf("%s: counted %+v", r.Name, c)
	}
}
