package intel

import (
	"encoding/binary"

	"vvufwd/vfio/mmio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/packet"
)

// transmitter is the transmit ring: descriptors [clean, next) are the chip's. Each has its
// own buffer, which is not used by those that carry no data.
//
// The chip is asked to report some of the descriptors, the last of each burst at least. It
// takes them in order, so that those before are done as well.
type transmitter struct {
	ring
	buffers
	tail   mmio.Space
	size   uint32
	format Format
	most   int // bytes of a frame

	clean, next uint32
	told        uint32
	silent      uint32 // descriptors since the last that is to be reported
	finished    uint64 // descriptors that the chip was done with

	marks           []uint32 // positions that are to be reported: [marked, marking)
	marked, marking uint32

	last       txContext // that the chip has for checksums; the zero one is none
	oneContext bool      // or another queue's: see QueueConfig

	// Of the burst that writePlain has placed: before which frames a context is needed.
	contexts uint64
	burst    [virtionet.MaxBurst]txContext

	soft virtionet.SoftwareGSO
}

// reportEvery is how many descriptors may pass without a report.
const reportEvery = 32

func (t *transmitter) init(size, maxFrame int, f Format, tail mmio.Space) {
	t.size, t.most, t.format, t.tail = uint32(size), maxFrame, f, tail
	t.marks = make([]uint32, size)
}

// free is how many descriptors can be used. One stays empty: head and tail would be equal.
func (t *transmitter) free() int { return int(t.size - 1 - (t.next - t.clean)) }

// pending is how many the chip has.
func (t *transmitter) pending() int { return int(t.next - t.clean) }

// reclaim takes back what the chip reports done, and returns how many descriptors.
func (t *transmitter) reclaim() (n int) {
	for t.marked != t.marking {
		at := t.marks[t.marked&t.ring.mask]
		if t.state(at)&txDone == 0 {
			break
		}
		t.marked++
		n += int(at + 1 - t.clean)
		t.clean = at + 1
	}
	t.finished += uint64(n)
	return n
}

// send adds a descriptor for the data in its buffer. The last of a burst is reported.
func (t *transmitter) send(w uint64, report bool) {
	if t.silent++; w&txEnd != 0 && (report || t.silent >= reportEvery) {
		w |= txReport
		t.silent = 0
		t.marks[t.marking&t.ring.mask] = t.next
		t.marking++
	}
	t.put(t.next, t.buffers.target(t.next), w)
	t.next++
}

// putContext adds a descriptor that says where headers are.
func (t *transmitter) putContext(c txContext) {
	t.put(t.next, c[0], c[1])
	t.next++
	t.silent++
	t.last = c
}

// tell tells the chip of new descriptors, and reports whether there were any.
func (t *transmitter) tell() bool {
	if t.told == t.next {
		return false
	}
	t.told = t.next
	t.tail.Store32(0, t.next&t.ring.mask)
	return true
}

// Limits of what a context can say.
const (
	maxOffset  = 255
	maxMACLen  = 127
	leastPiece = 256 // bytes of a segment: no stack asks for less
	ip6Header  = 40
)

// sum says where the headers are of a frame whose checksum the chip is to complete, or
// returns false if it cannot.
func (t *transmitter) sum(h *headers, u virtionet.Unfinished) bool {
	l := u.Layout
	h.l3, h.l4 = int(l.L3), int(u.Header.CsumStart)
	h.sum = h.l4 + int(u.Header.CsumOffset)
	h.tcp, h.ipv4 = l.Protocol == packet.TCP, !l.IPv6
	if t.format == Extended {
		return h.sum < maxOffset
	}
	return l.Protocol != 0 && h.l4 == int(l.L4) && h.l3 <= maxMACLen
}

// segments says where the headers are of a frame that the chip is to cut, or returns false
// if it cannot.
func (t *transmitter) segments(h *headers, u virtionet.Unfinished, n int) bool {
	l := &u.Layout
	h.end, h.size = int(l.End), int(u.Header.GSOSize)
	h.payload = n - h.end
	return t.sum(h, u) && l.Protocol == packet.TCP && h.l4 == int(l.L4) && h.end <= maxOffset &&
		h.size >= leastPiece && (h.ipv4 || h.l4-h.l3 == ip6Header)
}

// txFrames is Transmit for frames that are not plain.
func (q *Queue) txFrames(frames []virtionet.Frame) int {
	t := &q.tx
	t.reclaim()
	done := 0
	for done < len(frames) && q.put(&frames[done]) {
		done++
	}
	return done
}

// offloads are what a chip can be left with in a frame.
const offloads = virtionet.OffloadCsum | virtionet.OffloadTSO4 | virtionet.OffloadTSO6

// put sends one frame or drops it, or returns false when there is no room for it now.
func (q *Queue) put(f *virtionet.Frame) bool {
	t := &q.tx
	if !f.Own() {
		return q.putParts(f, headers{})
	}
	var h headers
	takes := offloads
	u := f.Unfinished()
	switch {
	case !t.sum(&h, u):
		takes = 0
	case f.Header.IsGSO() && (q.whole.Load() || !t.segments(&h, u, f.Len)):
		takes = virtionet.OffloadCsum
		h.end, h.size = 0, 0
	}
	if !t.soft.Begin(f, takes, t.most) {
		q.counters.Drops[virtionet.DropTooLong]++
		return true
	}
	for {
		out := t.soft.Next(&q.counters)
		if out == nil {
			return true
		}
		with := h
		if !out.Own() {
			with = headers{}
		}
		if !out.Header.IsGSO() {
			with.end, with.size = 0, 0
		}
		if !q.putParts(out, with) {
			return false
		}
		t.soft.Sent(&q.counters)
	}
}

// putParts sends a frame whose headers lie as h says, if there is something to be done, or
// drops it, or returns false when there is no room for it now.
func (q *Queue) putParts(f *virtionet.Frame, h headers) bool {
	t := &q.tx
	if f.Len > t.most && h.size == 0 {
		q.counters.Drops[virtionet.DropTooLong]++
		return true
	}
	parts := (f.Len + BufferSize - 1) / BufferSize
	need := parts
	var c txContext
	if h.sum != 0 {
		if c = t.format.context(&h); c != t.last || h.size > 0 || t.oneContext {
			need++
		}
	}
	if need > t.free() {
		return false
	}
	// All is copied before any of it is in the ring: a frame whose memory vanishes meanwhile has not happened.
	first := t.next + uint32(need-parts)
	for i, at, off := uint32(0), 0, 0; i < uint32(parts); i++ {
		_, at, off = virtionet.CopyViews(t.buffers.bytes(first+i), f.Data, at, off)
	}
	more, payload, length := uint64(0), f.Len, f.Len
	if h.sum != 0 {
		more = txL4Sum
	}
	if h.size > 0 {
		more |= t.format.cut()
		payload = h.payload
		if h.ipv4 {
			more |= txIPSum
		}
	}
	switch start := t.buffers.bytes(first); {
	case h.size > 0:
		prepare(start, &h, f.Len)
	case f.Len < leastSent:
		length = pad(start, f.Len)
		payload = length
	}
	if need > parts {
		t.putContext(c)
	}
	for left := length; left > 0; left -= BufferSize {
		w := t.format.data(min(left, BufferSize), payload) | more
		if left <= BufferSize {
			w |= txEnd
		}
		t.send(w, true)
	}
	if q.voices != nil {
		q.voices.heard(t.buffers.bytes(first))
	}
	q.counters.TxPackets++
	q.counters.TxBytes += uint64(f.Len)
	return true
}

// leastSent is how many bytes the chip has to be given of a frame that it pads to the least that Ethernet has
// (TCTL.PSP). A guest's may have fewer, down to the 14 of its header.
const leastSent = 17

// pad makes a frame of n bytes at the start of a buffer as long as it has to be, and returns how long it is: what another
// frame has left there is not sent.
func pad(buffer []byte, n int) int {
	if n >= leastSent {
		return n
	}
	clear(buffer[n:leastSent])
	return leastSent
}

// prepare makes the headers of a frame of n bytes, at the start of b, those from which a
// chip makes the headers of segments: no length in that of IP, nor in the sum of the pseudo
// header, and no checksum of IPv4 (82574 chapter 7, TCP segmentation; 82576 chapter 7).
func prepare(b []byte, h *headers, n int) {
	ip := b[h.l3:]
	if h.ipv4 {
		binary.BigEndian.PutUint16(ip[2:], 0)
		binary.BigEndian.PutUint16(ip[ip4SumOffset:], 0)
	} else {
		binary.BigEndian.PutUint16(ip[4:], 0)
	}
	field := b[h.sum:]
	sum := uint32(binary.BigEndian.Uint16(field)) + uint32(^uint16(n-h.l4))
	binary.BigEndian.PutUint16(field, uint16(sum>>16+sum&0xffff))
}
