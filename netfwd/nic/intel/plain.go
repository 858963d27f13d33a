package intel

import virtionet "vvufwd/virtio/net"

// Receive describes the frames that have arrived. See netfwd.Port.
func (q *Queue) Receive(b *virtionet.Burst) (worked bool) {
	if other := q.readPlain(b); b.Len() > 0 || !other {
		return b.Len() > 0
	}
	before := q.rx.next
	b.Truncate(q.rxFrames(b.General()))
	return q.rx.next != before
}

// Release gives the buffers of frames first to end-1 back to the chip.
func (q *Queue) Release(b *virtionet.Burst, first, end int) {
	if !b.Plain() {
		q.release(end - first)
		return
	}
	q.rx.next += uint32(end - first)
	q.rx.give(q.rx.next)
	q.counters.CountReceived(b, first, end)
}

// Transmit copies frames first to end-1 into buffers and hands them to the chip. See netfwd.Port.
func (q *Queue) Transmit(b *virtionet.Burst, first, end int) (done int) {
	if b.Plain() {
		n, other := q.writePlain(b, first, end)
		if n > 0 {
			b.Copy(first, first+n)
			q.sendPlain(b, first, first+n)
		}
		if n > 0 || !other {
			return n
		}
	}
	return q.txFrames(b.Frames(first, b.ToCut(first, end)))
}

// readPlain describes the frames that have arrived in one buffer each. If there are none,
// other says whether something else has.
func (q *Queue) readPlain(b *virtionet.Burst) (other bool) {
	r := &q.rx
	given := r.size - 1 - (r.next - r.back)
	most := int(min(given, virtionet.MaxBurst))
	b.Reset()
	for n := range most {
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
		b.Add(r.buffers.address(at), size)
		if sumsRight(w) {
			b.SetValid(n)
		}
	}
	b.Prefetch()
	return other
}

// writePlain gives frames places in transmit buffers. One with a checksum to be completed
// takes a descriptor more, if the headers are not where the last one's were. If there is
// none, other says whether txFrames is to be asked.
func (q *Queue) writePlain(b *virtionet.Burst, first, end int) (n int, other bool) {
	t := &q.tx
	t.reclaim()
	if end = b.SetDestination(first, end, virtionet.Destination{MaxFrame: BufferSize, Takes: virtionet.OffloadCsum}); end == first {
		return 0, true
	}
	undone := b.Undone()
	most := uint32(min(BufferSize, t.most))
	at, room, last := t.next, t.free(), t.last
	t.contexts = 0
	m := first
	for m < end {
		op := &b.Ops[m]
		if op.N > most || room == 0 {
			break
		}
		if undone>>m&1 != 0 {
			var h headers
			if !t.sum(&h, b.Unfinished(m)) {
				break
			}
			if c := t.format.context(&h); c != last || t.oneContext {
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
	return m - first, m == first && room > 1
}

// sendPlain hands frames first to end-1 to the chip.
func (q *Queue) sendPlain(b *virtionet.Burst, first, end int) {
	t := &q.tx
	undone := b.Undone()
	for i := first; i < end; i++ {
		if t.contexts>>i&1 != 0 {
			t.putContext(t.burst[i])
		}
		size := pad(t.buffers.bytes(t.next), int(b.Ops[i].N))
		w := t.format.data(size, size) | txEnd
		if undone>>i&1 != 0 {
			w |= txL4Sum
		}
		if q.voices != nil {
			q.voices.heard(t.buffers.bytes(t.next))
		}
		t.send(w, i == end-1)
	}
	q.counters.CountSent(b, first, end)
}
