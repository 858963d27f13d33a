package driver

import (
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// txFrames copies frames into DMA buffers, hands them to the device and returns
// how many it is done with, sent or dropped. Fewer than len(frames) means that
// the device has not sent enough earlier ones yet.
func (n *Port) txFrames(frames []virtionet.Frame) int {
	if err := n.tx.Err(); err != nil {
		n.report(1, err)
		n.counters.Drops[virtionet.DropFault] += uint64(len(frames))
		return len(frames)
	}
	n.reclaim()
	done := 0
	for done < len(frames) && n.put(&frames[done]) {
		done++
	}
	n.tx.Publish()
	return done
}

// put sends one frame or drops it, or returns false when there is no room for it now.
func (n *Port) put(f *virtionet.Frame) bool {
	if !f.Header.Special() {
		return n.putPlain(f)
	}
	if !n.gso.Begin(f, n.takes, n.maxFrame) {
		n.counters.Drops[virtionet.DropTooLong]++
		return true
	}
	for out := n.gso.Next(&n.counters); out != nil; out = n.gso.Next(&n.counters) {
		if !n.putPlain(out) {
			return false
		}
		n.gso.Sent(&n.counters)
	}
	return true
}

// putPlain is put for a frame that the device takes as it is.
func (n *Port) putPlain(f *virtionet.Frame) bool {
	if f.Len > n.maxFrame && !f.Header.IsGSO() { // else its pieces are what counts, see virtionet.SoftwareGSO
		n.counters.Drops[virtionet.DropTooLong]++
		return true
	}
	size := n.headerLen + f.Len
	switch {
	case size <= n.txBuffers.size && n.tx.Free() > 0:
		n.send(f)
	case size > n.txBuffers.size && n.tx.Free() >= n.txBuffers.count(size):
		n.sendChain(f, size)
	default:
		return false
	}
	n.counters.TxPackets++
	n.counters.TxBytes += uint64(f.Len)
	return true
}

// reclaim takes back the buffers of frames that the device has sent. A transmit
// buffer is its descriptor's: it is free when the descriptor is.
func (n *Port) reclaim() {
	if n.tx.Completed() > 0 {
		n.sent += uint64(n.tx.TakeAll())
	}
}

// InFlight takes back the buffers of what the device has sent, and returns how many
// descriptors' worth of frames it still has, and how many frames it was done with so far.
func (n *Port) InFlight() (pending int, done uint64) {
	n.reclaim()
	return n.tx.Outstanding(), n.sent
}

// send copies one frame, header first, into the next free descriptor's buffer.
func (n *Port) send(f *virtionet.Frame) {
	head := n.tx.NextHead()
	buffer := n.txBuffers.bytes(head)
	f.Header.NumBuffers = 0 // the driver's side sets it to zero (5.1.6.2)
	f.Header.Put((*[virtionet.HeaderLen]byte)(buffer))
	size := n.headerLen
	if len(f.Data) == 1 {
		size += copy(buffer[size:], f.Data[0])
	} else {
		k, _, _ := virtionet.CopyViews(buffer[size:], f.Data, 0, 0)
		size += k
	}
	n.parts[0] = vring.Part{Addr: n.txBuffers.addr(head), Len: uint32(size)}
	if _, err := n.tx.Add(n.parts[:], nil); err != nil {
		n.report(1, err) // a descriptor was free: only a faulted ring refuses
	}
}

// sendChain copies a frame of size bytes with its header into the buffers of as many
// descriptors as it takes. It is in the ring once all is copied.
func (n *Port) sendChain(f *virtionet.Frame, size int) {
	heads := n.heads[:n.txBuffers.count(size)]
	n.tx.NextHeads(heads)
	buffer := n.txBuffers.bytes(heads[0])
	f.Header.NumBuffers = 0
	f.Header.Put((*[virtionet.HeaderLen]byte)(buffer))
	filled, at, off := n.headerLen, 0, 0
	for i, head := range heads {
		buffer = n.txBuffers.bytes(head)
		var k int
		k, at, off = virtionet.CopyViews(buffer[filled:], f.Data, at, off)
		n.chainParts[i] = vring.Part{Addr: n.txBuffers.addr(head), Len: uint32(filled + k)}
		filled = 0
	}
	if _, err := n.tx.Add(n.chainParts[:len(heads)], nil); err != nil {
		n.report(1, err)
	}
}
