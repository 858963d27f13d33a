package pktgen

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Plan is what a Sender sends.
type Plan struct {
	Stream int // 0 to MaxStream
	Sizes  Sizes
	// Rate is how many frames a second; 0: as many as the interface takes.
	Rate float64
	// Count is how many frames; 0: until it is stopped.
	Count uint64
}

// Sent is what became of it.
type Sent struct {
	Frames  uint64  `json:"frames"` // that the interface took
	Bytes   uint64  `json:"bytes"`
	Refused uint64  `json:"refused"` // tries that found its queue full; they were made again
	Seconds float64 `json:"seconds"`
}

// Sender sends numbered frames. It is owned by one goroutine.
type Sender struct {
	fd   int
	name string
	plan Plan

	frames []([]byte) // one for each place of a batch, and of the cycle of sizes
	list   []unix.Mmsghdr
	vecs   []unix.Iovec
	sent   Sent
}

// pause is how long a Sender waits when the interface's queue is full: much less than that takes to drain.
const pause = 200 * time.Microsecond

// NewSender opens a packet socket at an interface for sending.
func NewSender(name string, plan Plan) (*Sender, error) {
	fd, link, err := open(name)
	if err != nil {
		return nil, err
	}
	s := &Sender{fd: fd, name: name, plan: plan}
	// Without a queue of its own that would drop in silence; kernels that cannot have their way.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	enlarge(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendMemory)
	if err := bind(fd, link, 0); err != nil { // it receives nothing
		unix.Close(fd)
		return nil, err
	}
	cycle := plan.Sizes.cycle()
	s.list, s.vecs = make([]unix.Mmsghdr, batch), make([]unix.Iovec, batch)
	for len(s.frames) < batch || len(s.frames)%len(cycle) != 0 {
		s.frames = append(s.frames, newFrame(cycle[len(s.frames)%len(cycle)], plan.Stream, link.HardwareAddr))
	}
	return s, nil
}

// Run sends until ctx ends, or the plan's count is sent.
func (s *Sender) Run(ctx context.Context) (Sent, error) {
	begin := time.Now()
	for ctx.Err() == nil && (s.plan.Count == 0 || s.sent.Frames < s.plan.Count) {
		n, wait := s.due(time.Since(begin))
		if n == 0 {
			time.Sleep(wait)
			continue
		}
		if err := s.send(n); err != nil {
			return s.sent, err
		}
	}
	s.sent.Seconds = time.Since(begin).Seconds()
	return s.sent, nil
}

// due is how many frames to send after so long, or how long to wait for the next.
func (s *Sender) due(elapsed time.Duration) (n int, wait time.Duration) {
	n = batch
	if s.plan.Count > 0 {
		n = int(min(batch, s.plan.Count-s.sent.Frames))
	}
	if s.plan.Rate <= 0 {
		return n, 0
	}
	total := uint64(elapsed.Seconds()*s.plan.Rate) + 1
	if total <= s.sent.Frames {
		next := time.Duration(float64(s.sent.Frames) / s.plan.Rate * 1e9)
		return 0, max(0, next-elapsed)
	}
	return int(min(uint64(n), total-s.sent.Frames)), 0
}

// send sends up to n frames.
func (s *Sender) send(n int) error {
	now := time.Now().UnixNano()
	for i := range n {
		number := s.sent.Frames + uint64(i)
		f := s.frames[number%uint64(len(s.frames))]
		stamp{uint32(number + 1), now}.write(f)
		s.vecs[i].Base = &f[0]
		s.vecs[i].SetLen(len(f))
		s.list[i].Hdr.Iov = &s.vecs[i]
		s.list[i].Hdr.SetIovlen(1)
	}
	taken, errno := sendmmsg(s.fd, s.list[:n])
	switch errno {
	case 0:
	case unix.EINTR:
	case unix.ENOBUFS, unix.EAGAIN:
		s.sent.Refused++
		time.Sleep(pause)
	case unix.ENETDOWN:
		return fmt.Errorf("interface %s is down", s.name)
	default:
		return fmt.Errorf("interface %s: send: %w", s.name, errno)
	}
	for i := range taken {
		s.sent.Bytes += uint64(s.vecs[i].Len)
	}
	s.sent.Frames += uint64(taken)
	return nil
}

// Close closes its socket.
func (s *Sender) Close() error { return unix.Close(s.fd) }
