package pktgen

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/measure"
)

// Arrival is what a Sink has seen of a stream.
type Arrival struct {
	Frames uint64 `json:"frames"` // without repetitions
	Bytes  uint64 `json:"bytes"`
	// Highest is the highest number: at least so many were sent.
	Highest    uint64 `json:"highest"`
	Reordered  uint64 `json:"reordered"` // arrived after a higher number
	Duplicated uint64 `json:"duplicated"`
	// KernelDropped is how many frames, of this stream or not, the kernel had no room for in the socket.
	KernelDropped uint64  `json:"kernel_dropped"`
	Seconds       float64 `json:"seconds"` // from the first to the last
	Delay         Delay   `json:"delay"`
}

// Rate is frames a second, 0 if it is not known.
func (a Arrival) Rate() float64 {
	if a.Frames < 2 || a.Seconds <= 0 {
		return 0
	}
	return float64(a.Frames-1) / a.Seconds
}

// Sink receives the frames of one stream and judges them. Arrived may be called by anyone at any
// time, all else belongs to one goroutine.
type Sink struct {
	fd     int
	stream int

	list  []unix.Mmsghdr
	vecs  []unix.Iovec
	heads [batch][headersLen]byte // the rest of a frame is not read
	times [batch]arrival

	order       measure.Sequence
	bytes       uint64
	first, last int64 // arrivals, since 1970
	delays      delays
	dropped     uint64
	arrived     atomic.Uint64
}

// look is how often a Sink without frames looks whether it shall stop.
const look = 20 * time.Millisecond

// Listen opens a packet socket at an interface for receiving a stream. What arrives from then on counts.
func Listen(name string, stream int) (*Sink, error) {
	fd, link, err := open(name)
	if err != nil {
		return nil, err
	}
	s := &Sink{fd: fd, stream: stream, list: make([]unix.Mmsghdr, batch), vecs: make([]unix.Iovec, batch)}
	enlarge(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receiveMemory)
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1) // older kernels do not know it
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: have frames stamped: %w", name, err), unix.Close(fd))
	}
	m := unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: make it promiscuous: %w", name, err), unix.Close(fd))
	}
	if err := bind(fd, link, unix.ETH_P_IP); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	for i := range s.list {
		s.vecs[i].Base = &s.heads[i][0]
		s.vecs[i].SetLen(headersLen)
		s.list[i].Hdr.Iov = &s.vecs[i]
		s.list[i].Hdr.SetIovlen(1)
	}
	return s, nil
}

// Arrived is how many frames have arrived.
func (s *Sink) Arrived() uint64 { return s.arrived.Load() }

// Run receives until ctx ends, and then what is there. It returns what it has seen since Listen.
func (s *Sink) Run(ctx context.Context) (Arrival, error) {
	for {
		ended := ctx.Err() != nil
		n, err := s.receive()
		switch {
		case err != nil:
			return s.result(), err
		case n > 0:
		case ended:
			return s.result(), nil
		default:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, int(look.Milliseconds())) // an error is a short wait
		}
	}
}

// receive takes up to a batch of frames.
func (s *Sink) receive() (int, error) {
	for i := range s.list {
		s.times[i].control(&s.list[i].Hdr)
	}
	n, errno := recvmmsg(s.fd, s.list, unix.MSG_TRUNC) // lengths are those of whole frames
	switch errno {
	case 0, unix.EAGAIN, unix.EINTR:
	case unix.ENETDOWN: // it may come back
	default:
		return 0, fmt.Errorf("receive: %w", errno)
	}
	for i := range n {
		m := &s.list[i]
		at := time.Now().UnixNano()
		if t := &s.times[i]; int(m.Hdr.Controllen) >= arrivalLen && t.header.Type == unix.SO_TIMESTAMPNS {
			at = t.at.Nano()
		}
		s.see(s.heads[i][:min(headersLen, int(m.Len))], int(m.Len), at)
	}
	return n, nil
}

// see judges a frame of so many bytes that came at a time.
func (s *Sink) see(head []byte, bytes int, at int64) {
	stamp, ok := parse(head, s.stream)
	if !ok || s.order.See(uint64(stamp.number)-1) == measure.Duplicate {
		return
	}
	if s.first == 0 {
		s.first = at
	}
	s.last = at
	s.bytes += uint64(bytes)
	s.delays.add(at - stamp.nanos)
	s.arrived.Add(1)
}

func (s *Sink) result() Arrival {
	if t, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil { // since the last time
		s.dropped += uint64(t.Drops)
	}
	return Arrival{
		Frames: s.arrived.Load(), Bytes: s.bytes, Highest: s.order.Next(), Reordered: s.order.Reordered(), Duplicated: s.order.Duplicated(),
		KernelDropped: s.dropped, Seconds: float64(s.last-s.first) / 1e9, Delay: s.delays.sum(),
	}
}

// Close closes its socket.
func (s *Sink) Close() error { return unix.Close(s.fd) }
