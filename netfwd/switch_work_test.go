package netfwd

import (
	"net"
	"slices"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// endless is a port from which the same burst comes again and again.
type endless struct {
	fakePort
	frames []virtionet.Frame
	most   int // frames left
}

func (p *endless) Receive(b *virtionet.Burst) (worked bool) {
	n := min(len(p.frames), p.most)
	p.most -= n
	p.held = n
	if p.plain {
		b.Reset()
		for _, f := range p.frames[:n] {
			b.Add(virtionet.AddressOf(f.Data[0]), uint32(f.Len))
		}
		return n > 0
	}
	copy(b.General(), p.frames[:n])
	b.Truncate(n)
	return n > 0
}

func (p *endless) Release(b *virtionet.Burst, first, end int) { p.held -= end - first }

// receiver is a guest's port that counts.
type receiver struct {
	*guest.Port
	calls int
}

func (r *receiver) Transmit(b *virtionet.Burst, first, end int) (done int) {
	r.calls++
	return r.Port.Transmit(b, first, end)
}

// offering is what receive buffers a guest offers: chains of some descriptors, each of some bytes.
type offering struct {
	size, chain, each int
	fixed             bool // a frame takes one buffer
	takes             virtionet.Offloads
}

// receiving is a switch with an endless source and a guest.
type receiving struct {
	*Switch
	from *endless
	to   *receiver
	ring *vringtest.Pair
	size uint16
}

func newReceiving(tb testing.TB, o offering, frames []virtionet.Frame, plain bool) *receiving {
	tb.Helper()
	stride, chains := max(64, o.each), o.size/o.chain
	p := vringtest.NewPair(tb, vringtest.Config{Size: o.size, HeapBytes: o.size * stride, OffHeap: true})
	for i := range o.size {
		d := vring.Desc{Addr: uint64(p.HeapAt(i * stride)), Len: uint32(o.each), Flags: vring.DescWrite}
		if (i+1)%o.chain != 0 {
			d.Flags, d.Next = d.Flags|vring.DescNext, uint16(i+1)
		}
		vringtest.PutDesc(p.Raw.Table, i, d)
		p.Raw.SetAvail(uint16(i), uint16(i%chains*o.chain))
	}
	g := guest.New("guest", func(ring string, err error) { tb.Errorf("%s ring: %v", ring, err) })
	done := make(chan struct{})
	go func() {
		g.Install(&guest.Queues{
			ToGuest: p.Device, FromGuest: vringtest.NewPair(tb, vringtest.Config{}).Device, ToGuestEnabled: true, FromGuestEnabled: true,
			Takes: o.takes, HeaderLen: virtionet.HeaderLen, Mergeable: !o.fixed,
		})
		close(done)
	}()
	for !g.Changed() {
	}
	g.Sync()
	<-done
	r := &receiving{from: &endless{frames: frames}, to: &receiver{Port: g}, ring: p, size: uint16(o.size)}
	r.from.name, r.from.plain = "source", plain
	cfg := SwitchConfig{MACAge: testAge, MACLimit: 16}
	for i, port := range []Port{r.from, r.to} {
		cfg.Ports = append(cfg.Ports, SwitchPort{End: End{Queues: []Port{port}}, Address: net.HardwareAddr{2, 0, 0, 0, 0, byte(i + 1)}})
	}
	var err error
	if r.Switch, err = newSwitch(cfg); err != nil {
		tb.Fatal(err)
	}
	r.refill()
	g.EnableKicks(true) // sees that there are buffers
	return r
}

// refill offers all buffers that the ring can hold.
func (r *receiving) refill() { r.ring.Raw.SetAvailIdx(r.ring.Raw.UsedIdx() + r.size) }

// turn lets the source have one.
func (r *receiving) turn() {
	r.from.most, r.ports[0].debt = len(r.from.frames), 0
	r.step()
}

func plainFrames(n, bytes int) (frames []virtionet.Frame) {
	for i := range n {
		b := nettest.Payload(bytes, i)
		copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
		frames = append(frames, nettest.Frame(b))
	}
	return frames
}

// segments are to be cut into pieces of size bytes.
func segments(tb testing.TB, n, payload, size int) (frames []virtionet.Frame) {
	shapes := packettest.Shapes(tb, payload)
	s := shapes[slices.IndexFunc(shapes, func(s packettest.Shape) bool { return s.Name == "tcp4" })]
	for range n {
		frames = append(frames, nettest.Unfinished(tb, s, nettest.GSOHeader(s, size)))
	}
	return frames
}

// with has frames of two kinds take turns.
func with(a, b []virtionet.Frame) (frames []virtionet.Frame) {
	for i := range a {
		frames = append(frames, a[i], b[i])
	}
	return frames
}

// hostile are guests whose buffers are of a kind that makes much work.
var hostile = map[string]struct {
	offering
	frame int // bytes
	size  int // into which it is to be cut
	plain bool
}{
	"a thousand buffers each":   {offering{size: 32768, chain: 1, each: 66}, 65000, 0, true},
	"not plain":                 {offering{size: 32768, chain: 1, each: 66}, 65000, 0, false},
	"five hundred each":         {offering{size: 32768, chain: 1, each: 66}, 33000, 0, true},
	"of a byte":                 {offering{size: 32768, chain: 1, each: 1}, 1000, 0, true},
	"large segments":            {offering{size: 32768, chain: 1, each: 66, takes: nettest.AllOffloads}, 64000, 1448, false},
	"pieces that need too many": {offering{size: 32768, chain: 1, each: 1}, 64000, 1448, false},
	"chains":                    {offering{size: 32768, chain: 8, each: 30}, 65000, 0, true},
	"long chains":               {offering{size: 32768, chain: 1000, each: 1}, 900, 0, true},
}

// A guest's buffers may be so small that a frame takes a thousand, and it may have thirty thousand of them: it gets what can
// be done in the time of a usual burst of large frames, and pays for the rest itself. Whoever sends to it has its turn.
func TestSwitchBoundsTheWorkOfBuffers(t *testing.T) {
	for name, c := range hostile {
		frames := plainFrames(virtionet.MaxBurst, c.frame)
		if c.size > 0 {
			frames = segments(t, virtionet.MaxBurst, c.frame, c.size)
		}
		r := newReceiving(t, c.offering, frames, c.plain)
		for range 3 {
			r.refill()
			before, calls, used := *r.to.Counters(), r.to.calls, r.ring.Raw.UsedIdx()
			r.turn()
			after := r.to.Counters()
			if n, calls := int(r.ring.Raw.UsedIdx()-used)*c.chain, r.to.calls-calls; n > 6*sendWork || calls > 30 {
				t.Errorf("%s: %d descriptors were used in a turn, in %d calls", name, n, calls)
			}
			sent, noRoom := after.TxPackets-before.TxPackets, after.Drops[virtionet.DropNoRoom]-before.Drops[virtionet.DropNoRoom]
			if sent == 0 || noRoom == 0 || c.size == 0 && sent+noRoom != virtionet.MaxBurst {
				t.Errorf("%s: %d frames were sent in a turn, and %d dropped", name, sent, noRoom)
			}
			if debt := r.ports[0].debt; debt > virtionet.MaxBurst {
				t.Errorf("%s: the sender owes %d frames", name, debt)
			}
		}
	}
}

// Guests that behave lose nothing of a burst for the work that it makes, as long as they have buffers.
func TestSwitchHasTimeForUsualBuffers(t *testing.T) {
	const burst = virtionet.MaxBurst
	usual := offering{size: 4096, chain: 1, each: 1526}
	pages := offering{size: 4096, chain: 19, each: 4096, fixed: true}
	for name, c := range map[string]struct {
		offering
		frames []virtionet.Frame
		plain  bool
		want   int
	}{
		"usual frames":                     {usual, plainFrames(burst, 1514), true, burst},
		"jumbo frames":                     {usual, plainFrames(burst, 9000), true, burst},
		"the largest frames":               {usual, plainFrames(burst, virtionet.MaxFrame), true, burst},
		"the largest frames in a long way": {usual, plainFrames(burst, virtionet.MaxFrame), false, burst},
		"the largest frames in pages":      {pages, plainFrames(burst, virtionet.MaxFrame), true, burst},
		"segments":                         {usual, segments(t, burst, 64000, 1448), false, 45 * burst},
		"segments and others":              {usual, with(segments(t, burst/2, 64000, 1448), plainFrames(burst/2, 60)), false, 46 * burst / 2},
		"segments in pages":                {pages, segments(t, 4, 64000, 1448), false, 4 * 45},
		"a segment with a tiny MSS":        {usual, slices.Concat(segments(t, 1, 64000, 48), plainFrames(burst-1, 1514)), false, 1334 + burst - 1},
		"few buffers":                      {offering{size: 8, chain: 1, each: 1526, fixed: true}, plainFrames(8, 1514), true, 8},
	} {
		r := newReceiving(t, c.offering, c.frames, c.plain)
		for range 3 {
			r.refill()
			before := r.to.Counters().TxPackets
			r.turn()
			if k := r.to.Counters(); int(k.TxPackets-before) != c.want || k.Dropped() != 0 {
				t.Errorf("%s: %d frames arrived, want %d; drops %v", name, k.TxPackets-before, c.want, k.Drops)
			}
		}
	}
}

// BenchmarkSwitchTurn is how long a turn takes: for usual bursts of the largest frames, and for hostile guests.
func BenchmarkSwitchTurn(b *testing.B) {
	run := func(name string, o offering, frames []virtionet.Frame, plain bool) {
		b.Run(name, func(b *testing.B) {
			r := newReceiving(b, o, frames, plain)
			for b.Loop() {
				r.refill()
				r.turn()
			}
		})
	}
	usual := offering{size: 4096, chain: 1, each: 1526}
	run("usual", usual, plainFrames(virtionet.MaxBurst, virtionet.MaxFrame), true)
	run("usual/cut", usual, segments(b, virtionet.MaxBurst, 64000, 1448), false)
	for name, c := range hostile {
		frames := plainFrames(virtionet.MaxBurst, c.frame)
		if c.size > 0 {
			frames = segments(b, virtionet.MaxBurst, c.frame, c.size)
		}
		run("hostile/"+name, c.offering, frames, c.plain)
	}
}
