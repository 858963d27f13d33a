package pktgen

import (
	"context"
	"strings"
	"testing"
	"time"

	"vvufwd/netfwd/netdev/netdevtest"
)

// veth makes two joined interfaces, up.
func veth(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link set v1 up")
}

// What is sent at one end arrives at the other, as sent.
func TestAcrossALink(t *testing.T) {
	veth(t)
	const stream, count = 3, 1200
	sink, err := Listen("v1", stream)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	other, err := NewSender("v0", Plan{Stream: stream + 1, Sizes: OfSize(60), Count: 5}) // which the sink leaves out
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := NewSender("v0", Plan{Stream: stream, Sizes: IMIX, Count: count})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var a Arrival
	go func() {
		a, err = sink.Run(ctx)
		close(ended)
	}()
	sent, sendErr := s.Run(t.Context())
	stop()
	<-ended
	if err != nil || sendErr != nil {
		t.Fatal(err, sendErr)
	}
	if bytes := uint64(IMIX.Mean() * count); sent.Frames != count || sent.Bytes != bytes || a.Bytes != bytes {
		t.Errorf("sent %+v, %d bytes arrived, want %d of %d", sent, a.Bytes, bytes, count)
	}
	if a.Frames != count || sink.Arrived() != count || a.Highest != count || a.Reordered != 0 || a.Duplicated != 0 || a.KernelDropped != 0 {
		t.Errorf("arrived: %+v", a)
	}
	if a.Seconds <= 0 || a.Rate() <= 0 || a.Delay.Least < -1 || a.Delay.Most <= 0 { // one clock; stamps are cut to microseconds
		t.Errorf("times: %+v", a)
	}
}

// A rate is kept, from the first frame on.
func TestRate(t *testing.T) {
	s := &Sender{plan: Plan{Rate: 100}}
	for _, c := range []struct {
		elapsed time.Duration
		sent    uint64
		n       int
		wait    time.Duration
	}{
		{0, 0, 1, 0}, {0, 1, 0, 10 * time.Millisecond}, {9 * time.Millisecond, 1, 0, time.Millisecond}, {10 * time.Millisecond, 1, 1, 0},
		{55 * time.Millisecond, 2, 4, 0}, {time.Minute, 2, batch, 0},
	} {
		s.sent.Frames = c.sent
		if n, wait := s.due(c.elapsed); n != c.n || wait != c.wait {
			t.Errorf("%d sent after %v: %d due, wait %v, want %d and %v", c.sent, c.elapsed, n, wait, c.n, c.wait)
		}
	}
	s.plan = Plan{Count: 70}
	s.sent.Frames = 64
	if n, _ := s.due(0); n != 6 {
		t.Errorf("%d of 70 are due after 64", n)
	}
}

// A sink counts what is missing, twice there, or late.
func TestJudgement(t *testing.T) {
	s := &Sink{stream: 1}
	f := newFrame(100, 1, NoOne)
	for i, number := range []uint32{1, 2, 4, 3, 3, 7} {
		stamp{number, 1e9}.write(f)
		s.see(f, len(f), int64(1e9+i*1000))
	}
	s.see(f[:10], 10, 2e9) // something else
	if s.Arrived() != 5 || s.bytes != 500 || s.order.Next() != 7 || s.order.Reordered() != 1 || s.order.Duplicated() != 1 || s.order.Lost(8) != 3 {
		t.Errorf("%d arrived, %d bytes, up to %d, %d reordered, %d duplicated, %d lost", s.Arrived(), s.bytes, s.order.Next(), s.order.Reordered(), s.order.Duplicated(), s.order.Lost(8))
	}
}

func TestErrors(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	for name, want := range map[string]string{"v0": "is down: ip link set v0 up", "none": "no such network interface"} {
		_, err := Listen(name, 0)
		_, sendErr := NewSender(name, Plan{Sizes: OfSize(60)})
		for _, err := range []error{err, sendErr} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}
