package virtionic

import (
	"encoding/binary"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// Receive fills b with the frames that the device has received, see netfwd.Port.
func (n *Port) Receive(b *virtionet.Burst) (worked bool) {
	k, other := n.readPlain(b)
	if k > 0 || !other {
		b.Truncate(k)
		return k > 0
	}
	k = n.rxFrames(b.General())
	b.Truncate(k)
	return k > 0 || len(n.taken) > 0
}

// Release offers the buffers of frames first to end-1 to the device again.
func (n *Port) Release(b *virtionet.Burst, first, end int) {
	if !b.Plain() {
		n.release(end - first)
		return
	}
	var u vring.Used
	for range end - first {
		if n.rx.Take(&u) {
			n.post(n.rxBufferOf[u.Head])
		}
	}
	n.rx.Publish()
	n.counters.CountReceived(b, first, end)
}

// Transmit copies frames first to end-1 into DMA buffers, hands them to the device and returns
// with how many it is done, see netfwd.Port. Fewer mean that the device has not sent
// enough earlier ones yet, or that the next one does not fit one buffer.
func (n *Port) Transmit(b *virtionet.Burst, first, end int) (done int) {
	if b.Plain() {
		k, other := n.writePlain(b, first, end)
		if k > 0 {
			b.Copy(first, first+k)
			n.sendPlain(b, first, first+k)
		}
		if k > 0 || !other {
			return k
		}
	}
	return n.txFrames(b.Frames(first, end))
}

// readPlain fills b with the plain frames that come next, see guest.Port.Receive.
func (n *Port) readPlain(b *virtionet.Burst) (k int, other bool) {
	done := min(n.rx.Completed(), virtionet.MaxBurst)
	if done == 0 {
		return 0, n.rx.Err() != nil
	}
	b.Reset()
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
		at := virtionet.AddressOf(buffer)
		b.Add(at+uint64(n.headerLen), uint32(length))
		if n.sends != 0 && !b.Inspect(k, at, n.sends) {
			return k, k == 0
		}
	}
	return done, false
}

// writePlain gives plain frames from first on places in DMA buffers and returns how many. If
// none, other says whether they are something for txFrames.
func (n *Port) writePlain(b *virtionet.Burst, first, end int) (k int, other bool) {
	if n.tx.Err() != nil {
		return 0, true
	}
	n.reclaim()
	b.SetDestination(n.headerLen, 0, n.takes) // the driver's side sets num_buffers to zero (5.1.6.2)
	k = min(end-first, n.tx.Free())
	var heads [virtionet.MaxBurst]uint16
	n.tx.NextHeads(heads[:k])
	for i, head := range heads[:k] {
		op := &b.Ops[first+i]
		if int(op.N) > n.maxFrame || n.headerLen+int(op.N) > n.txBuffers.size {
			return i, i == 0
		}
		op.Dst, op.DstID = virtionet.AddressOf(n.txBuffers.bytes(head)), head
	}
	return k, false
}

// sendPlain hands plain frames first to end-1, which have been copied, to the device.
func (n *Port) sendPlain(b *virtionet.Burst, first, end int) {
	ops := b.Ops[first:end]
	for i := range ops {
		op := &ops[i]
		n.parts[0] = vring.Part{Addr: n.txBuffers.addr(op.DstID), Len: uint32(n.headerLen) + op.N}
		if _, err := n.tx.Add(n.parts[:], nil); err != nil {
			n.report(1, err) // a descriptor was free: only a faulted ring refuses
		}
	}
	n.tx.Publish()
	n.counters.CountSent(b, first, end)
}
