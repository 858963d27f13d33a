package virtionet

import "vvufwd/virtio/vring"

// TxBurst copies frames into DMA buffers, hands them to the device and returns
// how many it is done with, sent or dropped. Fewer than len(frames) means that
// the device has not sent enough earlier ones yet.
func (n *NIC) TxBurst(frames []Frame) int {
	if n.linkDown.Load() || n.tx.Err() != nil {
		why := DropLinkDown
		if err := n.tx.Err(); err != nil {
			why = DropFault
			n.report(1, err)
		}
		n.counters.Drops[why] += uint64(len(frames))
		return len(frames)
	}
	n.reclaim()
	done := 0
	for ; done < len(frames); done++ {
		f := &frames[done]
		if f.Len > n.maxFrame {
			n.counters.Drops[DropTooLong]++
			continue
		}
		if n.tx.Free() == 0 {
			break
		}
		n.send(f)
		n.counters.TxPackets++
		n.counters.TxBytes += uint64(f.Len)
	}
	n.tx.Publish()
	return done
}

// reclaim takes back the buffers of frames that the device has sent. A transmit
// buffer is its descriptor's: it is free when the descriptor is.
func (n *NIC) reclaim() {
	var u vring.Used
	if n.tx.Completed() > 0 {
		for n.tx.Take(&u) {
		}
	}
}

// send copies one frame, header first, into the next free descriptor's buffer.
func (n *NIC) send(f *Frame) {
	head := n.tx.NextHead()
	buffer := n.txBuffers.bytes(head)
	f.Header.NumBuffers = 0 // the driver's side sets it to zero (5.1.6.2)
	f.Header.put((*[HeaderLen]byte)(buffer))
	size := n.headerLen
	if len(f.Data) == 1 {
		size += copy(buffer[size:], f.Data[0])
	} else {
		k, _, _ := copyParts(buffer[size:], f.Data, 0, 0)
		size += k
	}
	n.parts[0] = vring.Part{Addr: n.txBuffers.addr(head), Len: uint32(size)}
	if _, err := n.tx.Add(n.parts[:], nil); err != nil {
		n.report(1, err) // a descriptor was free: only a faulted ring refuses
	}
}
