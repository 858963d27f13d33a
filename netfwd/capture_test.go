package netfwd

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	virtionet "vvufwd/virtio/net"
)

// played is a port that hands out numbered frames, and takes as many as it is told to.
type played struct {
	Port
	counters virtionet.Counters
	take     int
	drop     bool
}

func (p *played) Name() string                  { return "played" }
func (p *played) Counters() *virtionet.Counters { return &p.counters }
func (p *played) Transmit(_ *virtionet.Burst, first, end int) int {
	n := min(p.take, end-first)
	if !p.drop {
		p.counters.TxPackets += uint64(n)
	}
	return n
}

// framesFrom is n plain frames of so many bytes, numbered from first on.
func framesFrom(b *virtionet.Burst, n, size int, first uint32) (keep [][]byte) {
	b.Reset()
	for i := range n {
		f := bytes.Repeat([]byte{byte(first) + byte(i)}, size)
		binary.LittleEndian.PutUint32(f, first+uint32(i))
		keep = append(keep, f)
		b.Add(virtionet.AddressOf(f), uint32(size))
	}
	return keep
}

// What the ring has room for arrives in order, whole or cut, round after round; the rest is counted.
func TestCaptureRing(t *testing.T) {
	const ring = 4096
	c := NewCapture(CaptureConfig{Pairs: 2, SnapLen: 100, RingBytes: ring})
	r := c.ring(0)
	var b virtionet.Burst
	keep := framesFrom(&b, 3, 60, 0)
	r.received(&b)
	runtime.KeepAlive(keep)
	if _, ok := c.Next(); ok {
		t.Fatal("a frame was captured while it was off")
	}
	c.Start()
	sent, seen := uint32(0), uint32(0)
	for round, size := range []int{60, 61, 99, 100, 101, 1500, 64, 77} {
		for range 20 {
			keep = framesFrom(&b, 7, size, sent)
			sent += 7
			r.received(&b)
			runtime.KeepAlive(keep)
			for range 7 {
				f, ok := c.Next()
				if !ok || f.Len != size || len(f.Data) != min(size, 100) || f.Sent || f.Pair != 0 || f.Time.IsZero() ||
					binary.LittleEndian.Uint32(f.Data) != seen || f.Data[len(f.Data)-1] != byte(sent-7)+byte(seen-(sent-7)) {
					t.Fatalf("round %d: frame %d is %+v, %v", round, seen, f, ok)
				}
				seen++
			}
		}
	}
	if c.Missed() != 0 {
		t.Fatalf("%d were missed", c.Missed())
	}
	keep = framesFrom(&b, 64, 90, 1000)
	r.received(&b)
	got := uint64(0)
	for {
		f, ok := c.Next()
		if !ok {
			break
		}
		if n := binary.LittleEndian.Uint32(f.Data); uint64(n) != 1000+got {
			t.Fatalf("frame %d after %d", n, got)
		}
		got++
	}
	if got == 0 || got == 64 || got+c.Missed() != 64 {
		t.Errorf("of 64 frames %d fit and %d were missed", got, c.Missed())
	}
	c.Stop()
	r.received(&b)
	if _, ok := c.Next(); ok {
		t.Error("a frame was captured after the end")
	}
	runtime.KeepAlive(keep)
}

// Of frames that go out those count that the port took, once, and none that it dropped. Queue pairs are read by time.
func TestCaptureTransmit(t *testing.T) {
	c := NewCapture(CaptureConfig{Pairs: 2, SnapLen: 100, RingBytes: 1 << 16})
	c.Start()
	for name, general := range map[string]bool{"plain": false, "general": true} {
		p := &played{}
		m := &member{Port: p, capture: c.ring(1)}
		var b virtionet.Burst
		keep := framesFrom(&b, 5, 60, 0)
		if general {
			list := b.General()
			for i, f := range keep {
				list[i] = virtionet.Frame{Data: [][]byte{f[:10], f[10:]}, Len: len(f)}
			}
			b.Truncate(len(keep))
		}
		at := 0
		for _, take := range []int{0, 2, 0, 3} {
			p.take = take
			if done := m.Transmit(&b, at, 5); done != take {
				t.Fatalf("%s: %d of %d done", name, done, take)
			}
			at += take
		}
		for want := range uint32(5) {
			if f, ok := c.Next(); !ok || !f.Sent || f.Pair != 1 || f.Len != 60 || binary.LittleEndian.Uint32(f.Data) != want {
				t.Fatalf("%s: frame %d is %+v, %v", name, want, f, ok)
			}
		}
		p.take, p.drop = 5, true
		m.Transmit(&b, 0, 5)
		if f, ok := c.Next(); ok {
			t.Errorf("%s: a frame that was dropped was captured: %+v", name, f)
		}
	}
	if c.Missed() != 0 {
		t.Errorf("%d were missed", c.Missed())
	}
	var b virtionet.Burst
	keep := framesFrom(&b, 1, 60, 1)
	c.ring(1).received(&b)
	keep = append(keep, framesFrom(&b, 1, 60, 2)...)
	c.ring(0).received(&b)
	first, _ := c.Next()
	pair := first.Pair
	if second, ok := c.Next(); !ok || pair != 1 || second.Pair != 0 {
		t.Errorf("queue pairs %d and %d, %v", pair, second.Pair, ok)
	}
	runtime.KeepAlive(keep)
}

// A capture that is off, or that there is not, allocates nothing; nor does one that is on.
func TestCaptureDoesNotAllocate(t *testing.T) {
	c := NewCapture(CaptureConfig{Pairs: 1, SnapLen: 100, RingBytes: 1 << 16})
	c.Start()
	p := &played{take: 5}
	m := &member{Port: p, capture: c.ring(0)}
	var b virtionet.Burst
	keep := framesFrom(&b, 5, 60, 0)
	if n := testing.AllocsPerRun(100, func() {
		m.Transmit(&b, 0, 5)
		m.capture.received(&b)
		for range 10 {
			c.Next()
		}
	}); n != 0 {
		t.Errorf("%g allocations a burst", n)
	}
	runtime.KeepAlive(keep)
}
