package driver

import (
	"encoding/binary"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// rxFrames takes the frames that arrived, at most len(frames) or MaxBurst, and
// returns how many. Their views stay valid until they are released; it must not
// be called while frames are held.
func (n *Port) rxFrames(frames []virtionet.Frame) int {
	n.taken, n.views = n.taken[:0], n.views[:0]
	n.held, n.released, n.refilled = 0, 0, 0
	if n.rx.Completed() == 0 {
		if err := n.rx.Err(); err != nil {
			n.report(0, err)
		}
		return 0
	}
	n.parser.Reset()
	limit := min(len(frames), virtionet.MaxBurst)
	for n.held < limit && n.take(&frames[n.held]) {
		n.frameEnd[n.held] = len(n.taken)
		n.held++
	}
	n.counters.RxPackets += uint64(n.held)
	if n.held == 0 {
		n.refill(len(n.taken)) // only drops
	}
	if err := n.rx.Err(); err != nil {
		n.report(0, err)
	}
	return n.held
}

// take gathers the next frame from as many buffers as its header says (5.1.6.4),
// or returns false when there is none. Broken frames are dropped on the way;
// their buffers go back with the next frame's.
func (n *Port) take(f *virtionet.Frame) bool {
	for {
		first := len(n.views)
		length := n.takeBuffer()
		if length < 0 {
			return false
		}
		if length < n.headerLen {
			n.counters.Drops[virtionet.DropBadFrame]++
			continue
		}
		var head [virtionet.LegacyHeaderLen]byte // headers lie in the first buffer as a whole
		copy(head[:], n.views[first])
		count := 1
		if n.mergeable {
			count = int(binary.LittleEndian.Uint16(n.views[first][virtionet.NumBuffersOffset:]))
		}
		data := virtionet.AfterHeader(n.views[first:], n.headerLen)
		length -= n.headerLen
		complete := count > 0
		for ; complete && count > 1; count-- {
			more := n.takeBuffer()
			complete = more >= 0 // all buffers of a frame are published at once, or the header lied
			length += more
		}
		switch {
		case !complete:
			n.counters.Drops[virtionet.DropBadFrame]++
		case length < virtionet.MinFrame:
			n.counters.Drops[virtionet.DropRunt]++
		case length > virtionet.MaxFrame:
			n.counters.Drops[virtionet.DropTooLong]++
		default:
			// A first view that held nothing but the header is gone from data.
			first += 1 - min(len(data), 1)
			f.Header = virtionet.Header{}
			f.Data = n.views[first:len(n.views):len(n.views)]
			f.Len = length
			if n.sends != 0 && !n.parser.Parse(n.held, f, &head, n.sends) {
				n.counters.Drops[virtionet.DropBadHeader]++
				continue
			}
			n.counters.RxBytes += uint64(length)
			return true
		}
	}
}

// takeBuffer takes one filled buffer, adds its view and returns its length, or
// -1 if there is none.
func (n *Port) takeBuffer() int {
	var u vring.Used
	if !n.rx.Take(&u) {
		return -1
	}
	i := n.rxBufferOf[u.Head]
	n.taken = append(n.taken, i)
	n.views = append(n.views, n.rxBuffers.bytes(i)[:u.Len])
	return int(u.Len)
}

// release gives the buffers of the oldest k held frames back to the device.
func (n *Port) release(k int) {
	n.released += k
	switch {
	case n.released == n.held:
		n.refill(len(n.taken)) // with what was dropped after the last frame
	case n.released > 0:
		n.refill(n.frameEnd[n.released-1])
	}
}

// refill offers the taken buffers up to end again.
func (n *Port) refill(end int) {
	for _, i := range n.taken[n.refilled:end] {
		n.post(i)
	}
	n.refilled = end
	n.rx.Publish()
}

// abandon drops the frames that are still held.
func (n *Port) abandon() {
	if left := n.held - n.released; left > 0 {
		n.counters.Drops[virtionet.DropStopped] += uint64(left)
		n.release(left)
	}
	n.held, n.released = 0, 0
}
