package netdevtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// MTU is that of both interfaces of a suite.
const MTU = 9000

// Pair is two interfaces, one of which receives what is sent through the other.
type Pair struct {
	A, B *netdev.Device
	// Name is that of A's, Away takes it away, and Back brings it back.
	Name       string
	Away, Back func(t testing.TB)
	// Cuts says that the kernel takes no large segments: they are cut before.
	Cuts bool

	links chan bool // what A says of its link
}

// Run follows both interfaces until the test ends, and closes them. Frames of MTU pass.
func (p *Pair) Run(t testing.TB) {
	p.RunAnyMTU(t)
	p.settle(t)
}

// RunAnyMTU is Run for interfaces with another MTU.
func (p *Pair) RunAnyMTU(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	p.links = make(chan bool, 64)
	p.A.Follow(func() {}, func(up bool) { p.links <- up })
	for _, d := range []*netdev.Device{p.A, p.B} {
		running.Go(func() {
			if err := d.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := errors.Join(p.A.Close(), p.B.Close()); err != nil {
			t.Error(err)
		}
	})
}

// Drain takes what has arrived at both.
func (p *Pair) Drain() {
	drain(p.A)
	drain(p.B)
}

// Suite checks a kind of port.
func Suite(t *testing.T, open func(t *testing.T) *Pair) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Pair)
	}{
		{"by content", testContent}, {"in general", testGeneral}, {"large segments stay uncut", testLarge}, {"checksums left undone", testSums}, {"tags", testTags},
		{"what is held comes again", testHeld}, {"sleep", testSleep}, {"the interface changes", testChanges},
	} {
		t.Run(test.name, func(t *testing.T) {
			Namespace(t)
			p := open(t)
			p.Run(t)
			test.run(t, p)
		})
	}
}

// plain is a frame of n bytes that no stack takes.
func plain(n, seed int) []byte {
	f := nettest.Payload(n, seed)
	copy(f, []byte{0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, byte(2 + seed%3), 0x88, 0xb5})
	return f
}

func testContent(t *testing.T, p *Pair) {
	s := NewSource(t)
	var want [][]byte
	sent := 0
	for _, way := range []struct{ from, to *netdev.Device }{{p.A, p.B}, {p.B, p.A}} {
		for _, n := range []int{64, 65, 127, 128, 1024, 1514, 1518, 4095, 4096, 9000, 9014} {
			s.Reset()
			want = want[:0]
			for i := range virtionet.MaxBurst / 4 {
				f := plain(n, n+i)
				want = append(want, f)
				s.Add(t, virtionet.Header{}, f)
			}
			s.Send(t, way.from.Ports()[0])
			got := map[string]int{}
			for _, r := range Collect(t, way.to, len(want)) {
				got[string(r.Bytes)]++
			}
			for i, f := range want {
				if got[string(f)] != 1 {
					t.Fatalf("frame %d of %d bytes came %d times", i, n, got[string(f)])
				}
			}
			sent += len(want)
		}
	}
	counted := uint64(0)
	for _, d := range []*netdev.Device{p.A, p.B} {
		c := d.Ports()[0].Counters()
		if counted += c.TxPackets; c.Dropped() != 0 {
			t.Errorf("drops: %v", c.Drops)
		}
	}
	if counted != uint64(sent) {
		t.Errorf("%d frames are counted as sent, %d were", counted, sent)
	}
	s.Reset()
	s.Add(t, virtionet.Header{}, plain(MTU+19, 0))
	s.Send(t, p.A.Ports()[0])
	if c := p.A.Ports()[0].Counters(); c.Drops[virtionet.DropTooLong] != 1 || c.TxPackets != uint64(sent/2) {
		t.Errorf("a frame beyond the MTU: %+v", c)
	}
}

// testGeneral sends bursts of frames that are not plain, as ports fill them in: all but what a frame's place in the burst
// remembers of the one before.
func testGeneral(t *testing.T, p *Pair) {
	s := NewSource(t)
	for round, n := range []int{200, 98, 1500} {
		list := s.burst.General()
		var want [][]byte
		for i := range 8 {
			f := plain(n, round+i)
			want = append(want, f)
			list[i].Header, list[i].Data, list[i].Len = virtionet.Header{}, [][]byte{f}, n
		}
		s.burst.Truncate(len(want))
		s.Send(t, p.A.Ports()[0])
		for i, r := range Collect(t, p.B, len(want)) {
			if !slices.ContainsFunc(want, func(f []byte) bool { return bytes.Equal(f, r.Bytes) }) {
				t.Fatalf("burst %d: frame %d of %d bytes is none that was sent", round, i, len(r.Bytes))
			}
		}
	}
	if c := p.A.Ports()[0].Counters(); c.TxPackets != 24 || c.Dropped() != 0 {
		t.Errorf("%d frames sent of 24, drops %v", c.TxPackets, c.Drops)
	}
}

func testLarge(t *testing.T, p *Pair) {
	if p.Cuts {
		nettest.LargeSegmentsAreCut(t, p.receiver(t))
		return
	}
	s := NewSource(t)
	for _, n := range []int{3000, 40000, 64000} {
		for _, shape := range packettest.Shapes(t, n) {
			if shape.Layout.Protocol == 0 {
				continue
			}
			h := nettest.GSOHeader(shape, 1400)
			s.Reset()
			s.Add(t, h, shape.Unfinished())
			s.Send(t, p.A.Ports()[0])
			r := Collect(t, p.B, 1)[0]
			if !r.Header.IsGSO() || r.Header.GSOType != h.GSOType || r.Header.GSOSize != h.GSOSize || r.Header.CsumStart != h.CsumStart || r.Header.CsumOffset != h.CsumOffset {
				t.Errorf("%s, %d bytes: came with %+v, want %+v", shape.Name, n, r.Header, h)
			}
			if !bytes.Equal(r.Bytes, shape.Unfinished()) {
				t.Errorf("%s, %d bytes: %d bytes came, and not the same", shape.Name, n, len(r.Bytes))
			}
		}
	}
}

func testSums(t *testing.T, p *Pair) {
	s := NewSource(t)
	for _, shape := range packettest.Shapes(t, 1000) {
		if shape.Layout.Protocol == 0 {
			continue
		}
		h := nettest.CsumHeader(shape)
		s.Reset()
		s.Add(t, h, shape.Unfinished())
		s.Send(t, p.A.Ports()[0])
		r := Collect(t, p.B, 1)[0]
		want := shape.Unfinished()
		if r.Header.Flags&virtionet.FlagNeedsCsum == 0 {
			want = shape.Frame // someone has completed it
		}
		if !bytes.Equal(r.Bytes, want) {
			t.Errorf("%s: came with %+v, and not the same", shape.Name, r.Header)
		}
	}
}

// A VLAN tag, which the kernel may take out, is where it was.
func testTags(t *testing.T, p *Pair) {
	s := NewSource(t)
	for _, shape := range packettest.Shapes(t, 1000) {
		frames := []struct {
			h virtionet.Header
			b []byte
		}{{virtionet.Header{}, shape.Frame}}
		if shape.Layout.Protocol != 0 {
			frames = append(frames, struct {
				h virtionet.Header
				b []byte
			}{nettest.CsumHeader(shape), shape.Unfinished()})
		}
		for _, f := range frames {
			if f.b[12] == 0x81 || f.b[12] == 0x88 {
				continue
			}
			tagged := append(append(bytes.Clone(f.b[:12]), 0x81, 0, 0x60, 42), f.b[12:]...)
			if f.h.Flags != 0 {
				f.h.CsumStart += 4
			}
			s.Reset()
			s.Add(t, f.h, tagged)
			s.Send(t, p.A.Ports()[0])
			r := Collect(t, p.B, 1)[0]
			whole := append(append(bytes.Clone(shape.Frame[:12]), 0x81, 0, 0x60, 42), shape.Frame[12:]...)
			if !bytes.Equal(r.Bytes, tagged) && !bytes.Equal(r.Bytes, whole) {
				t.Errorf("%s: came with %+v: % x", shape.Name, r.Header, r.Bytes[:min(len(r.Bytes), 60)])
			}
			if bytes.Equal(r.Bytes, tagged) && f.h.Flags != 0 && r.Header.CsumStart != f.h.CsumStart {
				t.Errorf("%s: the checksum is said to begin at %d, want %d", shape.Name, r.Header.CsumStart, f.h.CsumStart)
			}
		}
	}
}

func testHeld(t *testing.T, p *Pair) {
	s := NewSource(t)
	for i := range 8 {
		s.Add(t, virtionet.Header{}, binary.BigEndian.AppendUint32(plain(64, 0), uint32(i)))
	}
	s.Send(t, p.A.Ports()[0])
	var b virtionet.Burst
	for _, port := range p.B.Ports() {
		deadline := time.Now().Add(time.Second / 2)
		for b.Len() < 8 && time.Now().Before(deadline) {
			port.Receive(&b)
			if b.Len() >= 3 {
				break
			}
		}
		if b.Len() < 3 {
			continue
		}
		had := b.Len()
		port.Release(&b, 0, 2)
		port.Recover()
		port.Receive(&b)
		if b.Len() != had-2 {
			t.Fatalf("%d frames come again, want %d", b.Len(), had-2)
		}
		var last [68]byte
		b.Frames(0, 1)
		if copy(last[:], b.Frames(0, 1)[0].Data[0]); last[67] != 2 {
			t.Errorf("the first that comes again is number %d, want 2", last[67])
		}
		return
	}
	t.Fatal("no frames came")
}

// Which queue pair a frame arrives at is the kernel's choice: they sleep together.
func testSleep(t *testing.T, p *Pair) {
	var all []int
	var b virtionet.Burst
	for _, port := range p.B.Ports() {
		for port.Receive(&b); b.Len() > 0; port.Receive(&b) {
			port.Release(&b, 0, b.Len())
		}
		all = append(all, port.WakeFDs()...)
	}
	if readable(t, all, 0) {
		t.Fatal("woken by nothing")
	}
	for _, port := range p.B.Ports() {
		port.EnableKicks(false)
	}
	s := NewSource(t)
	s.Add(t, virtionet.Header{}, plain(64, 0))
	s.Send(t, p.A.Ports()[0])
	if !readable(t, all, patience) {
		t.Fatal("not woken by a frame")
	}
	Collect(t, p.B, 1)
	if readable(t, all, 0) {
		t.Error("woken when all is read")
	}
	for _, port := range p.B.Ports() {
		if _, room := port.EnableKicks(true); !room && !readable(t, port.WakeFDs(), patience) {
			t.Errorf("%s: not woken by room", port.Name())
		}
	}
}

func testChanges(t *testing.T, p *Pair) {
	for len(p.links) > 0 {
		<-p.links
	}
	s := NewSource(t)
	await := func(what string, done func(c *virtionet.Counters) bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			before := *p.A.Ports()[0].Counters()
			s.Reset()
			s.Add(t, virtionet.Header{}, plain(1400, 0))
			s.Send(t, p.A.Ports()[0])
			var b virtionet.Burst
			serve(p.A.Ports()[0])
			p.A.Ports()[0].Receive(&b)
			p.A.Ports()[0].Release(&b, 0, b.Len())
			after := *p.A.Ports()[0].Counters()
			after.TxPackets -= before.TxPackets
			for i := range after.Drops {
				after.Drops[i] -= before.Drops[i]
			}
			if done(&after) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: nothing is seen of it: %+v", what, after)
			}
		}
	}
	sent := func(c *virtionet.Counters) bool { return c.TxPackets == 1 }
	down := func(c *virtionet.Counters) bool {
		return c.Drops[virtionet.DropLinkDown] == 1 && len(p.A.Ports()[0].WakeFDs()) == 0
	}
	link := func(want bool) {
		t.Helper()
		select {
		case up := <-p.links:
			if up != want {
				t.Fatalf("told that the link is up: %v, want %v", up, want)
			}
		case <-time.After(patience):
			t.Fatalf("not told that the link is up: %v", want)
		}
	}
	await("at first", sent)
	IP(t, "link set "+p.Name+" mtu 1000")
	await("a smaller MTU", func(c *virtionet.Counters) bool { return c.Drops[virtionet.DropTooLong] == 1 })
	IP(t, "link set "+p.Name+" mtu 9000")
	await("the old MTU", sent)
	for range 3 {
		IP(t, "link set "+p.Name+" down")
		await("down", down)
		link(false)
		IP(t, "link set "+p.Name+" up")
		await("up", sent)
		link(true)
	}
	rename := func(from, to string) {
		IP(t, "link set "+from+" down")
		await("down", down)
		link(false)
		IP(t, "link set "+from+" name "+to)
		IP(t, "link set "+to+" up")
		await("renamed", sent)
		link(true)
	}
	rename(p.Name, "renamed")
	rename("renamed", p.Name)
	p.Away(t)
	await("removed", down)
	link(false)
	p.Back(t)
	await("back", sent)
	link(true)
	if stats := p.A.Stats(); !stats.Link || stats.Returns != 1 {
		t.Errorf("statistics %+v", stats)
	}
	p.Passes(t, patience)
}

// Passes sends frames from A until one comes to B.
func (p *Pair) Passes(t testing.TB, patience time.Duration) {
	t.Helper()
	s := NewSource(t)
	for end := time.Now().Add(patience); drain(p.B) >= 0; time.Sleep(time.Millisecond) {
		s.Reset()
		s.Add(t, virtionet.Header{}, plain(200, 7))
		if s.Send(t, p.A.Ports()[0]); drain(p.B) > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("nothing passes any more")
		}
	}
}
