package netdev

import (
	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// Lot bounds how many bytes are copied before they are written, and read before they are copied on: they are to be in
// the cache still then.
const Lot = 256 << 10

// Transmit copies frames and gives them to the kernel. See netfwd.Port.
func (p *Port) Transmit(b *virtionet.Burst, first, end int) (done int) {
	if p.condition.Down() {
		p.counters.Drops[virtionet.DropLinkDown] += uint64(end - first)
		return end - first
	}
	if b.Plain() {
		if n, other := p.place(b, first, end); !other {
			b.Copy(first, first+n)
			sent, done, _ := p.write(p.tx.list[:n])
			p.countSent(b, first, sent)
			return done
		}
		end = b.ToCut(first, end)
	}
	frames := b.Frames(first, end)
	for pieces := 0; done < len(frames) && pieces < mostPieces; done++ {
		n, ok := p.put(&frames[done])
		if !ok {
			break
		}
		pieces += n
	}
	return done
}

// mostPieces is after how many pieces of frames Transmit begins with no other frame. Each is a call into the kernel, and
// a guest may have a frame cut into thousands. A switch asks again for the rest, within bounds of its own.
const mostPieces = 1024

// place gives plain frames places. Other says that the first one is to be dropped, or
// cut.
func (p *Port) place(b *virtionet.Burst, first, end int) (n int, other bool) {
	most, head := p.condition.MaxFrame(), p.wire.HeaderLen()
	d := virtionet.Destination{HeaderLen: head, MaxFrame: most, Takes: p.takes}
	if end = b.SetDestination(first, end, d); end == first {
		return 0, true
	}
	total, long := 0, b.To.Long
	for n < end-first && total < Lot {
		op, s := &b.Ops[first+n], &p.tx.list[n]
		if op.N > virtionet.MaxFrame || int(op.N) > most && long>>n&1 == 0 {
			break
		}
		*s = Slot{Header: p.tx.base[n] - uint64(head), Frame: p.tx.base[n], Len: op.N}
		op.Dst = s.Header
		total += int(op.N)
		n++
	}
	return n, n == 0
}

// write writes frames. It returns which were sent, as bits by their index, how many it is done
// with, and how many of these it has dropped and counted.
func (p *Port) write(list []Slot) (sent uint64, done, dropped int) {
	for done < len(list) {
		n, errno := p.wire.Write(list[done:])
		sent |= (1<<n - 1) << done
		if done += n; done == len(list) {
			break
		}
		reason := virtionet.DropFault
		switch errno {
		case 0, unix.EAGAIN, unix.EINTR:
			return sent, done, dropped
		case unix.ENOBUFS, unix.ENOMEM:
			reason = virtionet.DropNoRoom // the kernel does not say when there is some
		case unix.EMSGSIZE:
			reason = virtionet.DropTooLong
		case unix.EINVAL:
			reason = virtionet.DropBadHeader
		case Filtered:
			reason = virtionet.DropFiltered
		case Spoofed:
			reason = virtionet.DropSpoofed
		default:
			if p.failed(errno); p.condition.Down() {
				reason = virtionet.DropLinkDown
			}
		}
		p.counters.Drops[reason]++
		done, dropped = done+1, dropped+1
	}
	return sent, done, dropped
}

// countSent counts plain frames from first on of which a bit is set.
func (p *Port) countSent(b *virtionet.Burst, first int, sent uint64) {
	for i := first; sent != 0; {
		n := 0
		for sent&1 != 0 {
			sent >>= 1
			n++
		}
		if n > 0 {
			p.counters.CountSent(b, i, i+n)
		}
		for i += n; sent != 0 && sent&1 == 0; i++ {
			sent >>= 1
		}
	}
}

// put sends one frame, in so many pieces, or drops it, or returns false when there is no room for it now.
func (p *Port) put(f *virtionet.Frame) (pieces int, ok bool) {
	most := p.condition.MaxFrame()
	if !p.soft.Begin(f, p.takes, most) {
		p.counters.Drops[virtionet.DropTooLong]++
		return 0, true
	}
	for out := p.soft.Next(&p.counters); out != nil; out = p.soft.Next(&p.counters) {
		if !p.putOne(out, most) {
			return pieces, false
		}
		p.soft.Sent(&p.counters)
		pieces++
	}
	return pieces, true
}

// putOne is put for a frame that goes out as it is.
func (p *Port) putOne(f *virtionet.Frame, most int) bool {
	if f.Len > virtionet.MaxFrame || f.Len > most && !f.Header.IsGSO() {
		p.counters.Drops[virtionet.DropTooLong]++
		return true
	}
	head := p.wire.HeaderLen()
	room := p.tx.memory[front-head : front+f.Len]
	f.Header.NumBuffers = 0
	f.Header.Put((*[virtionet.HeaderLen]byte)(room)) // the frame overwrites what a shorter header has not
	virtionet.CopyViews(room[head:], f.Data, 0, 0)
	s := &p.tx.list[0]
	*s = Slot{Header: p.tx.base[0] - uint64(head), Frame: p.tx.base[0], Len: uint32(f.Len)}
	_, done, dropped := p.write(p.tx.list[:1])
	if done > dropped {
		p.counters.TxPackets++
		p.counters.TxBytes += uint64(f.Len)
	}
	return done > 0
}
