package netdev

import (
	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// Receive describes what the kernel has for us. See netfwd.Port.
func (p *Port) Receive(b *virtionet.Burst) (worked bool) {
	if p.next == p.filled {
		if p.condition.Down() {
			b.Reset()
			return false
		}
		n, lost, errno := p.wire.Read(&p.rx.list, &p.rx.base)
		p.next, p.filled = 0, n
		p.counters.Drops[virtionet.DropBadHeader] += uint64(lost)
		if errno != 0 && errno != unix.EAGAIN {
			p.failed(errno)
		}
		worked = lost > 0
	}
	for p.next < p.filled {
		if p.describe(b); b.Len() > 0 {
			return true
		}
		p.next++ // describe has counted it
		worked = true
	}
	b.Reset()
	return worked
}

// describe adds to b what was read, up to the first frame that is not good. If that is the
// first of all, it counts it.
func (p *Port) describe(b *virtionet.Burst) {
	b.Reset()
	for i := range p.filled - p.next {
		s := &p.rx.list[p.next+i]
		reason := virtionet.DropBadHeader
		switch {
		case s.Len < virtionet.MinFrame:
			reason = virtionet.DropRunt
		case s.Len > virtionet.MaxFrame:
			reason = virtionet.DropTooLong
		default:
			if b.Add(s.Frame, s.Len); b.Inspect(i, s.Header, p.leaves) {
				continue
			}
		}
		if b.Truncate(i); i == 0 {
			p.counters.Drops[reason]++
		}
		return
	}
}

// Release is for the oldest frames that were not released. See netfwd.Port.
func (p *Port) Release(b *virtionet.Burst, first, end int) {
	if p.next += end - first; p.next == p.filled {
		p.wire.Done()
	}
	p.counters.CountReceived(b, first, end)
}

// failed takes note of an error that is not about a frame.
func (p *Port) failed(errno unix.Errno) {
	switch errno {
	case unix.ENETDOWN, unix.ENXIO, unix.ENODEV, unix.EBADFD, unix.EIO, unix.EBADF:
		p.condition.Fail()
	}
}
