package driver

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
	buffers := end - first
	if b.From.Set() != 0 {
		for i := first; i < end; i++ {
			buffers += b.Pieces(i) - 1
		}
	}
	buffers -= n.rx.Renew(buffers)
	for u := (vring.Used{}); buffers > 0; buffers-- {
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
	if b.Plain() {
		end = b.ToCut(first, end)
	}
	return n.txFrames(b.Frames(first, end))
}

// readPlain fills b with the plain frames that come next, see guest.Port.Receive.
func (n *Port) readPlain(b *virtionet.Burst) (k int, other bool) {
	done := n.rx.Completed()
	if done == 0 {
		return 0, n.rx.Err() != nil
	}
	b.Reset()
	next, finished := 0, n.rx.Finished()
	for k = 0; k < virtionet.MaxBurst && next < done; k++ {
		if next >= len(finished) {
			return k, k == 0 // the next one is broken, which Take says
		}
		u := &finished[next]
		buffer := n.rxBuffers.bytes(n.rxBufferOf[u.Head])
		length := int(u.Len) - n.headerLen
		// A device that may write here meanwhile can have no more than this: what is read is used once.
		if length >= virtionet.MinFrame && (!n.mergeable || binary.LittleEndian.Uint16(buffer[virtionet.NumBuffersOffset:]) == 1) {
			at := virtionet.AddressOf(buffer)
			b.Add(at+uint64(n.headerLen), uint32(length))
			if n.sends != 0 && !b.Inspect(k, at, n.sends) {
				return k, k == 0
			}
			next++
			continue
		}
		used := n.readFrame(b, k, next, done)
		if used == 0 {
			b.From.Undo()
			return k, k == 0
		}
		next += used
	}
	return k, false
}

// readFrame adds frame k, whose first buffer is the one at next of those that are finished. It
// returns how many buffers it has (5.1.6.4), or 0 if it is not plain.
func (n *Port) readFrame(b *virtionet.Burst, k, next, done int) (used int) {
	finished := n.rx.Finished()
	u := &finished[next]
	buffer := n.rxBuffers.bytes(n.rxBufferOf[u.Head])
	length, used := int(u.Len)-n.headerLen, 1
	if length < virtionet.MinFrame {
		return 0
	}
	if n.mergeable {
		used = int(binary.LittleEndian.Uint16(buffer[virtionet.NumBuffersOffset:]))
	}
	at := virtionet.AddressOf(buffer)
	data := at + uint64(n.headerLen)
	switch {
	case used == 1:
		b.Add(data, uint32(length))
	case used == 0 || used > done-next:
		return 0 // the header lies: all buffers of a frame are published at once
	default:
		b.From.Add(vring.Piece{Addr: data, N: uint32(length)})
		for i := next + 1; i < next+used; i++ {
			if i >= len(finished) {
				return 0
			}
			if u = &finished[i]; u.Len == 0 ||
				!b.From.Add(vring.Piece{Addr: virtionet.AddressOf(n.rxBuffers.bytes(n.rxBufferOf[u.Head])), N: u.Len}) {
				return 0
			}
			length += int(u.Len)
		}
		if length > virtionet.MaxFrame {
			return 0
		}
		b.AddPieces(uint32(length))
	}
	if n.sends != 0 && !b.Inspect(k, at, n.sends) {
		return 0
	}
	return used
}

// writePlain gives plain frames from first on places in DMA buffers and returns how many. If
// none, other says whether they are something for txFrames.
func (n *Port) writePlain(b *virtionet.Burst, first, end int) (k int, other bool) {
	if n.tx.Err() != nil {
		return 0, true
	}
	n.reclaim()
	// The driver's side sets num_buffers to zero (5.1.6.2).
	end = b.SetDestination(first, end, virtionet.Destination{HeaderLen: n.headerLen, MaxFrame: n.maxFrame, Takes: n.takes})
	if end == first {
		return 0, true
	}
	b.To.Spread.Reset()
	var heads [virtionet.MaxBurst]uint16
	most := min(end-first, n.tx.Free())
	n.tx.NextHeads(heads[:most])
	for i, head := range heads[:most] {
		op := &b.Ops[first+i]
		if int(op.N) > n.maxFrame || n.headerLen+int(op.N) > n.txBuffers.size {
			if i == 0 {
				return n.writeChains(b, first, end)
			}
			return i, false // chains have their turn next
		}
		op.Dst, op.DstID = virtionet.AddressOf(n.txBuffers.bytes(head)), head
	}
	return most, false
}

// writeChains is writePlain for frames of which the first does not fit one buffer.
func (n *Port) writeChains(b *virtionet.Burst, first, end int) (k int, other bool) {
	ops := b.Ops[first:end]
	count, total := n.room(ops, b.To.Long)
	if count == 0 {
		return 0, n.tooLong(&ops[0], b.To.Long)
	}
	heads := n.heads[:total]
	n.tx.NextHeads(heads)
	for k = range count {
		op := &ops[k]
		op.Dst, op.DstID = virtionet.AddressOf(n.txBuffers.bytes(heads[0])), heads[0]
		size := n.headerLen + int(op.N)
		if size <= n.txBuffers.size {
			heads = heads[1:]
			continue
		}
		for left := size; left > 0; left -= n.txBuffers.size {
			if !b.To.Spread.Add(n.place(heads[0], left)) {
				b.To.Spread.Undo()
				return placed(b, first, k)
			}
			heads = heads[1:]
		}
		b.To.Spread.Close(k)
	}
	return placed(b, first, count)
}

// placed is what writeChains returns for k frames that have places: if Copy cannot serve the first one, that one is for txFrames.
func placed(b *virtionet.Burst, first, k int) (n int, other bool) {
	n = b.Placed(first, k)
	return n, n == 0
}

// room is how many of ops there are descriptors for, and how many those are. Ops in long may
// be longer than a frame.
func (n *Port) room(ops []vring.Op, long uint64) (count, total int) {
	free := n.tx.Free()
	for i := range ops {
		need := n.txBuffers.count(n.headerLen + int(ops[i].N))
		if n.tooLong(&ops[i], long>>i) || total+need > free {
			return i, total
		}
		total += need
	}
	return len(ops), total
}

// tooLong reports whether an op is longer than the device takes, unless long says that it may.
func (n *Port) tooLong(op *vring.Op, long uint64) bool { return int(op.N) > n.maxFrame && long&1 == 0 }

// place is the buffer of a descriptor, of which size bytes are used, or all of it.
func (n *Port) place(head uint16, size int) vring.Piece {
	return vring.Piece{Addr: virtionet.AddressOf(n.txBuffers.bytes(head)), N: uint32(min(size, n.txBuffers.size)), ID: head}
}

// sendPlain hands plain frames first to end-1, which have been copied, to the device.
func (n *Port) sendPlain(b *virtionet.Burst, first, end int) {
	ops, set := b.Ops[first:end], b.To.Spread.Set()
	if set == 0 {
		parts := n.burstParts[:len(ops)]
		for i := range ops {
			op := &ops[i]
			parts[i] = vring.Part{Addr: n.txBuffers.addr(op.DstID), Len: uint32(n.headerLen) + op.N}
		}
		if n.tx.AddReads(parts) < len(parts) {
			n.report(1, n.tx.Err()) // descriptors were free: only a faulted ring refuses
		}
		ops = nil
	}
	for i := range ops {
		op := &ops[i]
		parts := n.parts[:]
		if set>>i&1 == 0 {
			parts[0] = vring.Part{Addr: n.txBuffers.addr(op.DstID), Len: uint32(n.headerLen) + op.N}
		} else {
			parts = n.chainParts[:0]
			for _, p := range b.To.Spread.Of(i) {
				parts = append(parts, vring.Part{Addr: n.txBuffers.addr(p.ID), Len: p.N})
			}
		}
		if _, err := n.tx.Add(parts, nil); err != nil {
			n.report(1, err) // a descriptor was free: only a faulted ring refuses
		}
	}
	n.tx.Publish()
	n.counters.CountSent(b, first, end)
}
