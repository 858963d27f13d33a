package xdp

import virtionet "vvufwd/virtio/net"

// transmitter has the rings of what is sent, and the chunks that are free.
type transmitter struct {
	tx   output[desc]
	done input[uint64] // the completion ring
	layout
	base uint64 // address of the umem in this process

	metadata bool // the kernel completes checksums
	parts    bool // it takes frames in several chunks

	free  [txChunks]uint64 // where in the umem the next frames go: the last of them, up to count
	count int

	unsent bool // the kernel has to be called
	soft   virtionet.SoftwareGSO
}

// takes is what may be left undone in what is sent.
func (t *transmitter) takes() virtionet.Offloads {
	if t.metadata {
		return virtionet.OffloadCsum
	}
	return 0
}

// reclaim takes back the chunks of what was sent.
func (t *transmitter) reclaim() {
	n := t.done.ready()
	if n == 0 {
		return
	}
	for k := range n {
		if i := t.sentChunk(t.done.get(k)); i < txChunks && t.count < txChunks {
			t.free[t.count] = t.sendFrom(uint32(i))
			t.count++
		}
	}
	t.done.take(n)
}

// rooms is how many chunks can be sent now.
func (t *transmitter) rooms() int { return min(t.count, int(t.tx.room())) }

// next is where the n-th frame from now on would begin in the umem.
func (t *transmitter) next(n int) uint64 { return t.free[t.count-1-n] }

// place gives plain frames places. Other says that the first one needs to be cut, or takes
// several chunks, or is to be dropped.
func (t *transmitter) place(b *virtionet.Burst, first, end, most int) (n int, other bool) {
	t.reclaim()
	if end = b.SetDestination(first, end, virtionet.Destination{MaxFrame: most, Takes: t.takes()}); end == first {
		return 0, true
	}
	room, most := t.rooms(), min(most, int(t.room()))
	for n < end-first && n < room {
		op := &b.Ops[first+n]
		if int(op.N) > most {
			return n, n == 0
		}
		op.Dst = t.base + t.next(n)
		n++
	}
	return n, false
}

// send hands frames first to end-1, which have been copied to their places, to the kernel.
func (t *transmitter) send(b *virtionet.Burst, first, end int) {
	undone := b.Undone()
	for i := first; i < end; i++ {
		op := &b.Ops[i]
		d := desc{addr: op.Dst - t.base, n: op.N}
		if undone>>i&1 != 0 && t.metadata {
			h := b.Unfinished(i).Header
			putMetadata(op.Dst, h.CsumStart, h.CsumOffset)
			d.options = optionMetadata
		}
		t.tx.put(d)
	}
	t.sent(end - first)
}

// sent says that n more chunks are the kernel's.
func (t *transmitter) sent(n int) {
	t.count -= n
	t.tx.publish()
	t.unsent = true
}

// put sends one frame, or drops it, or returns false when there is no room for it now.
func (t *transmitter) put(f *virtionet.Frame, most int, c *virtionet.Counters) bool {
	if !t.soft.Begin(f, t.takes(), most) {
		c.Drops[virtionet.DropTooLong]++
		return true
	}
	for out := t.soft.Next(c); out != nil; out = t.soft.Next(c) {
		if !t.putOne(out, c) {
			return false
		}
		t.soft.Sent(c)
	}
	return true
}

// putOne is put for a frame that goes out as it is.
func (t *transmitter) putOne(f *virtionet.Frame, c *virtionet.Counters) bool {
	room := int(t.room())
	n := (f.Len + room - 1) / room
	switch {
	case n > 1 && !t.parts:
		c.Drops[virtionet.DropTooLong]++
		return true
	case n > t.rooms():
		return false
	}
	// All is copied before any of it is in the ring: a frame whose memory vanishes meanwhile has not happened.
	for k, left, at, off := 0, f.Len, 0, 0; k < n; k, left = k+1, left-room {
		_, at, off = virtionet.CopyViews(view(t.base+t.next(k), uint32(min(left, room))), f.Data, at, off)
	}
	for k, left := 0, f.Len; k < n; k++ {
		d := desc{addr: t.next(k), n: uint32(min(left, room))}
		if k == 0 && f.Own() {
			putMetadata(t.base+d.addr, f.Header.CsumStart, f.Header.CsumOffset)
			d.options = optionMetadata
		}
		if left -= room; left > 0 {
			d.options |= optionContinued
		}
		t.tx.put(d)
	}
	t.sent(n)
	c.TxPackets++
	c.TxBytes += uint64(f.Len)
	return true
}
