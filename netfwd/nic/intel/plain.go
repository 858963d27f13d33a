package intel

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// ReadPlain describes the frames that have arrived in one buffer each. See
// netfwd's short way.
func (q *Queue) ReadPlain(b *virtionet.Burst) (n int, other bool) {
	r := &q.rx
	given := r.size - 1 - (r.next - r.back)
	most := int(min(given, virtionet.MaxBurst))
	b.Fill(0)
	for n < most {
		at := r.next + uint32(n)
		w := r.state(at)
		size := uint32(uint16(w >> rxLenShift))
		if w&rxPlainMask != rxPlain || size-virtionet.MinFrame > BufferSize-virtionet.MinFrame || r.skipping {
			other = w&rxDone != 0 && n == 0
			break
		}
		if q.voices != nil && r.buffers.bytes(at)[0]&1 != 0 { // to a group: it may be an echo
			other = n == 0
			break
		}
		op := &b.Ops[n]
		op.Src, op.N = r.buffers.address(at), size
		if sumsRight(w) {
			b.SetValid(n)
		}
		n++
	}
	vring.PrefetchSrc(b.Ops[:n])
	return n, other
}

// FinishRead gives the buffers of the first n frames back.
func (q *Queue) FinishRead(b *virtionet.Burst, n int) {
	q.rx.next += uint32(n)
	q.rx.give(q.rx.next)
	q.counters.CountPlain(b, n)
}

// WritePlain gives frames places in transmit buffers. One with a checksum to be completed
// takes a descriptor more, if the headers are not where the last one's were.
func (q *Queue) WritePlain(b *virtionet.Burst, n int) (m int, other bool) {
	t := &q.tx
	t.reclaim()
	b.SetDestination(0, 0, virtionet.OffloadCsum)
	undone := b.Undone()
	at, room, last := t.next, t.free(), t.last
	t.contexts = 0
	for m < n {
		op := &b.Ops[m]
		if op.N > BufferSize || room == 0 {
			break
		}
		if undone>>m&1 != 0 {
			var h headers
			if !t.sum(&h, b.Unfinished(m)) {
				break
			}
			if c := t.format.context(&h); c != last {
				if room < 2 {
					break
				}
				last, t.burst[m] = c, c
				t.contexts |= 1 << m
				at, room = at+1, room-1
			}
		}
		op.Dst, op.DstID = t.buffers.address(at), uint16(at&t.ring.mask)
		at, room, m = at+1, room-1, m+1
	}
	return m, m == 0 && room > 1
}

// FinishWrite hands the first n frames to the chip.
func (q *Queue) FinishWrite(b *virtionet.Burst, n int) {
	t := &q.tx
	undone := b.Undone()
	for i := range b.Ops[:n] {
		if t.contexts>>i&1 != 0 {
			t.putContext(t.burst[i])
		}
		size := int(b.Ops[i].N)
		w := t.format.data(size, size) | txEnd
		if undone>>i&1 != 0 {
			w |= txL4Sum
		}
		if q.voices != nil {
			q.voices.heard(t.buffers.bytes(t.next))
		}
		t.send(w, i == n-1)
	}
	q.counters.CountSent(b, n)
}
