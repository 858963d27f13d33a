package virtionic

import (
	"encoding/binary"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// ReadPlain is guest.Port.ReadPlain for what the device has received.
func (n *Port) ReadPlain(b *virtionet.Burst) (k int, other bool) {
	done := min(n.rx.Completed(), virtionet.MaxBurst)
	if done == 0 {
		return 0, n.rx.Err() != nil
	}
	b.Fill(0)
	var u vring.Used
	for k = range done {
		if !n.rx.Peek(k, &u) {
			return k, k == 0
		}
		buffer := n.rxBuffers.bytes(n.rxBufferOf[u.Head])
		length := int(u.Len) - n.headerLen
		if length < virtionet.MinFrame || n.mergeable && binary.LittleEndian.Uint16(buffer[virtionet.NumBuffersOffset:]) != 1 {
			return k, k == 0
		}
		op, at := &b.Ops[k], virtionet.AddressOf(buffer)
		op.Src, op.N = at+uint64(n.headerLen), uint32(length)
		if n.sends != 0 && !b.Inspect(k, at, n.sends) {
			return k, k == 0
		}
	}
	return done, false
}

// FinishRead offers the buffers of the first k frames to the device again.
func (n *Port) FinishRead(b *virtionet.Burst, k int) {
	var u vring.Used
	for range k {
		if n.rx.Take(&u) {
			n.post(n.rxBufferOf[u.Head])
		}
	}
	n.rx.Publish()
	n.counters.CountPlain(b, k)
}

// WritePlain is guest.Port.WritePlain: places in DMA buffers.
func (n *Port) WritePlain(b *virtionet.Burst, k int) (m int, other bool) {
	if n.tx.Err() != nil {
		return 0, true
	}
	n.reclaim()
	b.SetDestination(n.headerLen, 0, n.takes) // the driver's side sets num_buffers to zero (5.1.6.2)
	k = min(k, n.tx.Free())
	var heads [virtionet.MaxBurst]uint16
	n.tx.NextHeads(heads[:k])
	for i, head := range heads[:k] {
		op := &b.Ops[i]
		if int(op.N) > n.maxFrame || n.headerLen+int(op.N) > n.txBuffers.size {
			return i, i == 0
		}
		op.Dst, op.DstID = virtionet.AddressOf(n.txBuffers.bytes(head)), head
	}
	return k, false
}

// FinishWrite hands the first k frames to the device.
func (n *Port) FinishWrite(b *virtionet.Burst, k int) {
	for i := range b.Ops[:k] {
		op := &b.Ops[i]
		n.parts[0] = vring.Part{Addr: n.txBuffers.addr(op.DstID), Len: uint32(n.headerLen) + op.N}
		if _, err := n.tx.Add(n.parts[:], nil); err != nil {
			n.report(1, err) // a descriptor was free: only a faulted ring refuses
		}
	}
	n.tx.Publish()
	n.counters.CountSent(b, k)
}
