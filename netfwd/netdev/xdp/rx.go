package xdp

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// receiver has the rings of what arrives. An entry of rx is done with when its frame is released.
type receiver struct {
	rx   input[desc]
	fill output[uint64]
	layout
	base uint64 // address of the umem in this process
}

// maxParts is how many chunks a frame can have at most: those of the longest one, of which
// the kernel need not fill any but the last.
const maxParts = 64

// verdict is what becomes of the frame that is next in the ring.
type verdict uint8

const (
	takeIt   verdict = iota
	leaveIt          // for the next burst: there is no room for it, or it has not come as a whole
	dropIt           // the kernel says what cannot be
	tooShort         // for an Ethernet header
	tooLong
)

// drops are the reasons that are counted.
var drops = [...]virtionet.Drop{dropIt: virtionet.DropBadFrame, tooShort: virtionet.DropRunt, tooLong: virtionet.DropTooLong}

// describe fills b with what has arrived, up to the first frame that is not good. If that is the
// first of all it is dropped, and counted.
func (r *receiver) describe(b *virtionet.Burst, c *virtionet.Counters) (worked bool) {
	b.Reset()
	ready := r.rx.ready()
	for n := uint32(0); n < ready && b.Len() < virtionet.MaxBurst; {
		d := r.rx.get(n)
		if d.options&optionContinued == 0 && d.n >= virtionet.MinFrame && r.holds(d.addr, d.n) {
			b.Add(r.base+d.addr, d.n)
			n++
			continue
		}
		parts, v := r.gather(b, n, ready)
		switch {
		case v == takeIt:
			n += parts
			continue
		case v == leaveIt || b.Len() > 0:
			return worked || b.Len() > 0
		}
		c.Drops[drops[v]]++
		r.discard(parts)
		ready -= parts
		worked = true
	}
	return worked || b.Len() > 0
}

// gather adds to b the frame that begins with entry n of those that are ready, in however many
// chunks it is, and returns how many entries it has.
func (r *receiver) gather(b *virtionet.Burst, n, ready uint32) (parts uint32, v verdict) {
	defer b.From.Undo() // what is not the burst's by then
	total, bad := uint32(0), false
	for more := true; more; parts++ {
		switch {
		case parts == maxParts:
			return parts, dropIt
		case n+parts == ready && ready == r.rx.size():
			return parts, dropIt // the rest of it cannot come
		case n+parts == ready:
			return 0, leaveIt
		}
		d := r.rx.get(n + parts)
		more = d.options&optionContinued != 0
		if d.n == 0 || !r.holds(d.addr, d.n) {
			bad = true
			continue
		}
		total += d.n
		if !bad && !b.From.Add(vring.Piece{Addr: r.base + d.addr, N: d.n}) {
			return 0, leaveIt // the burst has too many; it is not empty then
		}
	}
	switch {
	case bad:
		return parts, dropIt
	case total < virtionet.MinFrame:
		return parts, tooShort
	case total > virtionet.MaxFrame:
		return parts, tooLong
	}
	b.AddPieces(total)
	return parts, takeIt
}

// discard gives the chunks of the oldest entries back to the kernel, as far as they are any.
func (r *receiver) discard(parts uint32) {
	for n := range parts {
		if d := r.rx.get(n); d.addr < r.rxEnd() {
			r.give(r.base + d.addr)
		}
	}
	r.rx.take(parts)
	r.fill.publish()
}

// release gives the chunks of frames first to end-1, the oldest ones, back to the kernel.
func (r *receiver) release(b *virtionet.Burst, first, end int) {
	entries := uint32(end - first)
	spread := b.From.Set()
	for i := first; i < end; i++ {
		if spread>>i&1 == 0 {
			r.give(b.Ops[i].Src)
			continue
		}
		pieces := b.From.Of(i)
		entries += uint32(len(pieces)) - 1
		for k := range pieces {
			r.give(pieces[k].Addr)
		}
	}
	r.rx.take(entries)
	r.fill.publish()
}

// give gives the kernel a chunk by an address in it. There is room for all that there are.
func (r *receiver) give(at uint64) { r.fill.put(r.first(at - r.base)) }
