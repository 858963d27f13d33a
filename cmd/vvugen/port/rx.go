package port

import "encoding/binary"

// maxBuffers is how many buffers a frame may fill: 9000 bytes take five of the
// smallest. More is a broken device.
const maxBuffers = 64

// Rx is the receive queue of a port (ring 0). One goroutine owns it.
//
// A burst is: Look, then Count or Receive, then Return. Settle is due within
// microseconds to milliseconds of a Return.
type Rx struct {
	ring    ring
	buffers []byte // of all slots, headers included
	stride  int
	kick    int // eventfd

	mergeable bool
	kicks     uint64
	malformed uint64
}

// Frame is what the device wrote for one frame. Its views point into shared
// memory and are valid until Return.
type Frame struct {
	Head  []byte             // the first buffer's part, after the vnet header
	More  [maxBuffers][]byte // further buffers' parts
	Parts int                // of More that are in use
	Len   int                // bytes altogether
}

// Look returns how many buffers wait.
func (r *Rx) Look() int { return r.ring.look() }

// Count takes up to limit of the buffers that Look saw and sums up what the
// device wrote, without looking at a byte of it. It is exact for frames of one
// buffer each.
func (r *Rx) Count(limit int) (frames, bytes uint64) {
	for range limit {
		_, n, ok := r.ring.take()
		if !ok {
			break
		}
		if n < Header {
			r.malformed++
			continue
		}
		frames++
		bytes += uint64(n - Header)
	}
	return frames, bytes
}

// Discard takes all buffers that Look saw and returns how many.
func (r *Rx) Discard() (buffers int) {
	for {
		if _, _, ok := r.ring.take(); !ok {
			return buffers
		}
		buffers++
	}
}

// Receive takes the next frame that Look saw. It returns false if there is none,
// or when the device has broken the ring. A frame with an impossible header is
// skipped and counted as malformed.
func (r *Rx) Receive(f *Frame) bool {
	for {
		slot, n, ok := r.ring.take()
		if !ok {
			return false
		}
		if n < Header {
			r.malformed++
			continue
		}
		off := int(slot)*r.stride + headerAt
		buffer := r.buffers[off : off+int(n) : off+int(n)]
		f.Head, f.Parts, f.Len = buffer[Header:], 0, int(n)-Header
		if !r.mergeable {
			return true
		}
		count := binary.LittleEndian.Uint16(buffer[10:]) // num_buffers
		if count == 1 {
			return true
		}
		if r.merge(f, int(count)) {
			return true
		}
	}
}

// merge takes the further buffers of a frame of count buffers. The device shows
// all of them at once (5.1.6.4), so they must be there.
//
//go:noinline
func (r *Rx) merge(f *Frame, count int) bool {
	if count == 0 || count > maxBuffers || count-1 > int(r.ring.seenUsed-r.ring.nextUsed) {
		r.malformed++
		return false
	}
	for range count - 1 {
		slot, n, ok := r.ring.take()
		if !ok {
			return false
		}
		off := int(slot)*r.stride + headerAt
		f.More[f.Parts] = r.buffers[off : off+int(n) : off+int(n)]
		f.Parts++
		f.Len += int(n)
	}
	return true
}

// Return gives all buffers taken, or at first all there are, to the device.
func (r *Rx) Return() {
	q := &r.ring
	n := q.free()
	if n == 0 {
		return
	}
	if q.reordered {
		for range n {
			q.next()
		}
	} else {
		q.nextAvail += uint16(n)
	}
	q.publish()
	if q.needKick() {
		r.kicks++
		notify(r.kick)
	}
}

// Settle makes sure that a device which fell asleep at the wrong moment hears of
// the buffers that Return has given it. Call it every now and then.
func (r *Rx) Settle() {
	if r.ring.mustKick() {
		r.kicks++
		notify(r.kick)
	}
}

// Malformed counts frames whose length or vnet header was impossible.
func (r *Rx) Malformed() uint64 { return r.malformed }

// Kicks is the number of notifications sent.
func (r *Rx) Kicks() uint64 { return r.kicks }

// Err is the fault of the device that stopped the ring, or nil.
func (r *Rx) Err() error { return r.ring.fault }
