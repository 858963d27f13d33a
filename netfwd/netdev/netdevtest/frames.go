package netdevtest

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
)

// Source makes bursts of plain frames, as guests' ports do.
type Source struct {
	memory []byte
	used   int
	burst  virtionet.Burst
}

// NewSource makes one.
func NewSource(t testing.TB) *Source {
	t.Helper()
	m, err := unix.Mmap(-1, 0, 8<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	s := &Source{memory: m}
	s.Reset()
	return s
}

// Reset begins a new burst.
func (s *Source) Reset() {
	s.used = 0
	s.burst.Reset()
}

// Add adds a frame with a header.
func (s *Source) Add(t testing.TB, h virtionet.Header, frame []byte) {
	t.Helper()
	header := s.memory[s.used : s.used+16]
	h.Put((*[virtionet.HeaderLen]byte)(header))
	at := s.memory[s.used+16:]
	copy(at, frame)
	s.used += (16 + len(frame) + 63) &^ 63
	i := s.burst.Len()
	s.burst.Add(virtionet.AddressOf(at), uint32(len(frame)))
	if !s.burst.Inspect(i, virtionet.AddressOf(header), nettest.AllOffloads) {
		t.Fatalf("the header of a test is refused: %+v", h)
	}
}

// Send sends the burst through a port.
func (s *Source) Send(t testing.TB, p netdev.Queue) {
	t.Helper()
	for first, end := 0, time.Now().Add(patience); first < s.burst.Len(); {
		serve(p)
		first += p.Transmit(&s.burst, first, s.burst.Len())
		p.Notify()
		if time.Now().After(end) {
			t.Fatalf("%s takes no more after %d of %d frames", p.Name(), first, s.burst.Len())
		}
	}
}

// serve does for a port what forwarders do in each round.
func serve(p netdev.Queue) {
	if r, ok := p.(netfwd.Replaceable); ok && r.Changed() {
		r.Sync()
	}
}

// patience is how long a test waits for what comes at once.
const patience = 10 * time.Second

// Received is a frame that came.
type Received struct {
	Header virtionet.Header
	Bytes  []byte
}

// Collect waits for n frames from a device, at whichever queue pair they arrive.
func Collect(t testing.TB, d *netdev.Device, n int) (frames []Received) {
	t.Helper()
	var b virtionet.Burst
	for end := time.Now().Add(patience); len(frames) < n; {
		for _, p := range d.Ports() {
			serve(p)
			p.Receive(&b)
			for i, f := range b.Frames(0, b.Len()) {
				r := Received{Header: f.Header}
				for _, v := range f.Data {
					r.Bytes = append(r.Bytes, v...)
				}
				if i < b.Len() {
					frames = append(frames, r)
				}
			}
			p.Release(&b, 0, b.Len())
		}
		if time.Now().After(end) {
			t.Fatalf("%d frames of %d came; drops %v", len(frames), n, d.Ports()[0].Counters().Drops)
		}
	}
	return frames
}

// receiver sends through A, and takes all that has been sent from B.
func (p *Pair) receiver(t testing.TB) nettest.Receiver {
	from, taken := p.A.Ports()[0], uint64(0)
	return nettest.Receiver{
		Name: from.Name(), Port: from,
		Take: func() (headers []virtionet.Header, frames [][]byte) {
			from.Notify()
			n := from.Counters().TxPackets - taken
			for _, r := range Collect(t, p.B, int(n)) {
				headers, frames = append(headers, r.Header), append(frames, r.Bytes)
			}
			taken += n
			return headers, frames
		},
	}
}

// settle waits until what is sent through each device comes out of the other, also the longest
// frames, and nothing else does.
func (p *Pair) settle(t testing.TB) {
	t.Helper()
	a, b := p.A, p.B
	for _, way := range [][2]*netdev.Device{{a, b}, {b, a}} {
		s := NewSource(t)
		for end := time.Now().Add(patience); drain(way[1]) == 0; time.Sleep(time.Millisecond) {
			s.Reset()
			s.Add(t, virtionet.Header{}, plain(MTU+14, 0))
			s.Send(t, way[0].Ports()[0])
			if time.Now().After(end) {
				t.Fatal("nothing passes")
			}
		}
	}
	for drain(a)+drain(b) > 0 {
		time.Sleep(time.Millisecond)
	}
	for _, d := range []*netdev.Device{a, b} {
		for _, p := range d.Ports() {
			*p.Counters() = virtionet.Counters{}
		}
	}
}

// drain takes what there is and returns how many frames.
func drain(d *netdev.Device) (n int) {
	var b virtionet.Burst
	for _, p := range d.Ports() {
		serve(p)
		for p.Receive(&b); b.Len() > 0; p.Receive(&b) {
			n += b.Len()
			p.Release(&b, 0, b.Len())
		}
	}
	return n
}
