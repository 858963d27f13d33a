package virtionet

import "vvufwd/virtio/vring"

// ReadPlain is Guest.ReadPlain for what the device has received.
func (n *NIC) ReadPlain(b *Burst) (k int, other bool) {
	done := min(n.rx.Completed(), MaxBurst)
	if done == 0 {
		return 0, n.rx.Err() != nil
	}
	b.fill(0)
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
		op := &b.ops[k]
		op.Src, op.N = addressOf(buffer)+uint64(n.headerLen), uint32(length)
		if n.sends != 0 && !b.plain(k, n.sends, le64(buffer), func() uint16 { return le16(buffer[8:]) }) {
			return k, k == 0
		}
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
	n.counters.countPlain(b, k)
}

// WritePlain is Guest.WritePlain: places in DMA buffers.
func (n *NIC) WritePlain(b *Burst, k int) (m int, other bool) {
	if n.linkDown.Load() || n.tx.Err() != nil {
		return 0, true
	}
	n.reclaim()
	b.head, b.numBuffers = n.headerLen, 0 // the driver's side sets it to zero (5.1.6.2)
	b.accepts(n.takes)
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
	n.counters.countSent(b, k)
}
