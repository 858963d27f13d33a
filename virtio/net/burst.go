package virtionet

import "vvufwd/virtio/vring"

// Burst is plain frames on their way from one port to another: such that lie in one
// buffer behind their header, go into one, and are copied as they are. A port's
// ReadPlain fills it, another's WritePlain gives each frame a place, Copy moves them,
// and only then do FinishWrite and FinishRead change anything in the rings. What is not
// plain goes the way of Frames.
type Burst struct {
	ops [MaxBurst]vring.Op

	// What the ports of the burst have said of it.
	head       int    // bytes of the header before each frame at its destination
	numBuffers uint32 // in this header, shifted to its place

	// Flags of frames' headers that may pass, see flagDataValid; looked at if anyFlags.
	flags    [MaxBurst]uint8
	anyFlags bool
	take     uint8 // the flags that the destination takes

	bytes uint64 // copied by the last Copy
}

// plainHeader reports whether a header says that nothing is left to be done with its
// frame, and which flag of it may pass. word is the header's first 8 bytes.
func plainHeader(word uint64, may Offloads) (flags uint8, plain bool) {
	flags = uint8(word) & flagDataValid
	if may&OffloadDataValid == 0 {
		flags = 0 // not for a driver to say (5.1.6.2)
	}
	return flags, uint8(word)&flagNeedsCsum == 0 && uint8(word>>8) == gsoNone
}

// setFlags notes the flags of frame i, of which frames are looked at in order.
func (b *Burst) setFlags(i int, flags uint8) {
	b.flags[i] = flags
	b.anyFlags = b.anyFlags || flags != 0
}

// ReadPlain fills b with the plain frames that come next, in order, and returns how
// many. Nothing is taken from the ring before FinishRead. If there are none, other says
// whether something else waits, for RxBurst.
func (g *Guest) ReadPlain(b *Burst) (n int, other bool) {
	q := g.cur.FromGuest
	if q == nil || !g.cur.FromGuestEnabled || g.due || q.Err() != nil {
		return 0, true
	}
	n = q.ReadOps(b.ops[:], g.cur.HeaderLen, MinFrame, MaxFrame)
	if n == 0 {
		return 0, q.Waits()
	}
	b.anyFlags = false
	vring.PrefetchSrc(b.ops[:n])
	if g.cur.Sends == 0 {
		return n, false
	}
	for i := range b.ops[:n] {
		// Once read, the header is not looked at again: its sender may change it.
		flags, plain := plainHeader(load64(b.ops[i].Src-uint64(g.cur.HeaderLen)), g.cur.Sends)
		if !plain {
			return i, true
		}
		b.setFlags(i, flags)
	}
	return n, false
}

// FinishRead gives the buffers of the first n frames back to the guest.
func (g *Guest) FinishRead(b *Burst, n int) {
	q := g.cur.FromGuest
	q.CompleteReads(b.ops[:n])
	g.unsignalled[1] = true
	g.counters.RxPackets += uint64(n)
	g.counters.RxBytes += b.bytes
	g.counters.Plain += uint64(n)
}

// WritePlain gives the first n frames of b places in the guest's buffers and returns of
// how many. If of none, other says whether they are something for TxBurst; otherwise
// there is no room now.
func (g *Guest) WritePlain(b *Burst, n int) (m int, other bool) {
	q := g.cur.ToGuest
	if q == nil || !g.cur.ToGuestEnabled || q.Err() != nil {
		return 0, true
	}
	b.head, b.numBuffers, b.take = g.cur.HeaderLen, 1<<16, 0
	if g.cur.Takes&OffloadDataValid != 0 {
		b.take = flagDataValid
	}
	m = q.WriteOps(b.ops[:n], g.cur.HeaderLen, g.cur.maxFrame())
	if m == 0 {
		return 0, q.Waits()
	}
	vring.PrefetchDst(b.ops[:m])
	return m, false
}

// FinishWrite hands the first n frames over, which have been copied.
func (g *Guest) FinishWrite(b *Burst, n int) {
	q := g.cur.ToGuest
	q.CompleteWrites(b.ops[:n], g.cur.HeaderLen)
	g.unsignalled[0] = true
	g.counters.TxPackets += uint64(n)
	g.counters.TxBytes += b.bytes
}

// ReadPlain is Guest.ReadPlain for what the device has received.
func (n *NIC) ReadPlain(b *Burst) (k int, other bool) {
	done := min(n.rx.Completed(), MaxBurst)
	if done == 0 {
		return 0, n.rx.Err() != nil
	}
	b.anyFlags = false
	var u vring.Used
	for k = range done {
		if !n.rx.Peek(k, &u) {
			return k, k == 0
		}
		buffer := n.rxBuffers.bytes(n.rxBufferOf[u.Head])
		length := int(u.Len) - n.headerLen
		if length < MinFrame || n.mergeable && le16(buffer[numBuffersOffset:]) != 1 {
			return k, k == 0
		}
		flags, plain := plainHeader(le64(buffer), n.sends)
		if n.sends == 0 {
			flags, plain = 0, true
		}
		if !plain {
			return k, k == 0
		}
		b.setFlags(k, flags)
		op := &b.ops[k]
		op.Src, op.N = addressOf(buffer)+uint64(n.headerLen), uint32(length)
	}
	return done, false
}

// FinishRead offers the buffers of the first k frames to the device again.
func (n *NIC) FinishRead(b *Burst, k int) {
	var u vring.Used
	for range k {
		if n.rx.Take(&u) {
			n.post(n.rxBufferOf[u.Head])
		}
	}
	n.rx.Publish()
	n.counters.RxPackets += uint64(k)
	n.counters.RxBytes += b.bytes
	n.counters.Plain += uint64(k)
}

// WritePlain is Guest.WritePlain: places in DMA buffers.
func (n *NIC) WritePlain(b *Burst, k int) (m int, other bool) {
	if n.linkDown.Load() || n.tx.Err() != nil {
		return 0, true
	}
	n.reclaim()
	b.head, b.numBuffers, b.take = n.headerLen, 0, 0 // the driver's side sets it to zero (5.1.6.2)
	k = min(k, n.tx.Free())
	var heads [MaxBurst]uint16
	n.tx.NextHeads(heads[:k])
	for i, head := range heads[:k] {
		op := &b.ops[i]
		if int(op.N) > n.maxFrame || n.headerLen+int(op.N) > n.txBuffers.size {
			return i, i == 0
		}
		op.Dst, op.DstID = addressOf(n.txBuffers.bytes(head)), head
	}
	return k, false
}

// FinishWrite hands the first k frames to the device.
func (n *NIC) FinishWrite(b *Burst, k int) {
	for i := range b.ops[:k] {
		op := &b.ops[i]
		n.parts[0] = vring.Part{Addr: n.txBuffers.addr(op.DstID), Len: uint32(n.headerLen) + op.N}
		if _, err := n.tx.Add(n.parts[:], nil); err != nil {
			n.report(1, err) // a descriptor was free: only a faulted ring refuses
		}
	}
	n.tx.Publish()
	n.counters.TxPackets += uint64(k)
	n.counters.TxBytes += b.bytes
}
