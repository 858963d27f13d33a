package netfwd

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	virtionet "vvufwd/virtio/net"
)

// Capture gets copies of the frames that pass a port, which someone else reads. Each of the port's
// queue pairs has a ring of its own, filled by the loop that serves it and bounded: what finds no room there is
// missed, and counted, and the loop goes on. While it is off the loop pays one load a burst.
//
// Start, Stop and Missed are safe for concurrent use; Next belongs to one goroutine.
type Capture struct {
	on    atomic.Bool
	rings []*captureRing
}

// CaptureConfig says how much is copied.
type CaptureConfig struct {
	Pairs     int // queue pairs of the port
	SnapLen   int // bytes of each frame at most
	RingBytes int // of each queue pair: a power of two, of at least twice SnapLen
}

// CapturedFrame is a frame that passed a port.
type CapturedFrame struct {
	Time time.Time
	Pair int  // the queue pair
	Sent bool // to the port's device; else it was received from it
	Len  int  // bytes that it has
	Data []byte
}

// NewCapture makes a capture that is off.
func NewCapture(cfg CaptureConfig) *Capture {
	c := &Capture{}
	for range cfg.Pairs {
		c.rings = append(c.rings, &captureRing{on: &c.on, snapLen: cfg.SnapLen, buf: make([]byte, cfg.RingBytes)})
	}
	return c
}

// ring is that of a queue pair, or nil.
func (c *Capture) ring(pair int) *captureRing {
	if c == nil || pair >= len(c.rings) {
		return nil
	}
	return c.rings[pair]
}

// Start and Stop switch it on and off.
func (c *Capture) Start() { c.on.Store(true) }

// Stop is documented with Start.
func (c *Capture) Stop() { c.on.Store(false) }

// Missed is how many frames found no room so far.
func (c *Capture) Missed() (n uint64) {
	for _, r := range c.rings {
		n += r.missed.Load()
	}
	return n
}

// Next returns the oldest frame that was not returned yet, and whether there is one. Its data are valid until the
// next call.
func (c *Capture) Next() (f CapturedFrame, ok bool) {
	var oldest *captureRing
	var first int64
	for i, r := range c.rings {
		r.release()
		if at, some := r.peek(); some && (oldest == nil || at < first) {
			oldest, first, f.Pair = r, at, i
		}
	}
	if oldest == nil {
		return f, false
	}
	oldest.take(&f)
	return f, true
}

// captureRing holds records of frames: a head and data, each in one piece and aligned to alignRecord. What is left of the
// ring's end where one does not fit is a record without a frame. It has one writer and one reader at a time; a queue pair that
// goes from one loop to another does so with everything in its place.
type captureRing struct {
	on      *atomic.Bool
	snapLen int
	buf     []byte

	head   atomic.Uint64 // where the writer has published
	missed atomic.Uint64
	_      [64]byte
	tail   atomic.Uint64 // where the reader is
	taken  uint64        // of the record that the reader has, when it is done with that

	next uint64 // the writer's: after what it has written, published or not
}

// The head of a record.
const (
	recordSize  = 0  // u32: all of it; 0 with no frame
	recordLen   = 4  // u32: of the frame
	recordData  = 8  // u32: of it that are here
	recordFlags = 12 // u32
	recordTime  = 16 // i64: nanoseconds since 1970
	recordHead  = 24

	alignRecord = 8

	flagSent = 1
	flagSkip = 2 // no frame: go on at the beginning
)

// reserve makes room for a record with so many bytes of data, and returns it, or nil.
func (r *captureRing) reserve(data int) []byte {
	size := uint64(recordHead+data+alignRecord-1) &^ (alignRecord - 1)
	whole := uint64(len(r.buf))
	at := r.next & (whole - 1)
	skip := uint64(0)
	if whole-at < size {
		skip = whole - at
	}
	if r.next+skip+size-r.tail.Load() > whole {
		return nil
	}
	if skip >= recordHead { // less is passed over in any case
		binary.LittleEndian.PutUint32(r.buf[at+recordSize:], uint32(skip))
		binary.LittleEndian.PutUint32(r.buf[at+recordFlags:], flagSkip)
	}
	r.next += skip + size
	b := r.buf[(at+skip)&(whole-1):]
	binary.LittleEndian.PutUint32(b[recordSize:], uint32(size))
	return b[:size]
}

// write copies frames first to end-1 of a burst, none of them published. It returns where the record of each ends in ends.
func (r *captureRing) write(b *virtionet.Burst, first, end int, sent bool, ends *[virtionet.MaxBurst]uint64) {
	now := time.Now().UnixNano()
	flags := uint32(0)
	if sent {
		flags = flagSent
	}
	for i := first; i < end; i++ {
		n := b.FrameLen(i)
		if record := r.reserve(min(n, r.snapLen)); record == nil {
			r.missed.Add(1)
		} else {
			got := b.CopyFrame(i, record[recordHead:recordHead+min(n, r.snapLen)])
			binary.LittleEndian.PutUint32(record[recordLen:], uint32(n))
			binary.LittleEndian.PutUint32(record[recordData:], uint32(got))
			binary.LittleEndian.PutUint32(record[recordFlags:], flags)
			binary.LittleEndian.PutUint64(record[recordTime:], uint64(now))
		}
		ends[i] = r.next
	}
}

// publish shows the reader what was written up to there, and takes the rest back.
func (r *captureRing) publish(end uint64) {
	r.next = end
	r.head.Store(end)
}

// received captures a burst that a port has handed out.
func (r *captureRing) received(b *virtionet.Burst) {
	if !r.on.Load() || b.Len() == 0 {
		return
	}
	r.next = r.head.Load() // a fault may have left something
	var ends [virtionet.MaxBurst]uint64
	r.write(b, 0, b.Len(), false, &ends)
	r.publish(r.next)
}

// transmit has a port transmit, and captures what it took. Frames that all were dropped are left out.
func (r *captureRing) transmit(p Port, b *virtionet.Burst, first, end int) (done int) {
	if !r.on.Load() {
		return p.Transmit(b, first, end)
	}
	start := r.head.Load() // a fault may have left something
	r.next = start
	var ends [virtionet.MaxBurst]uint64
	before := p.Counters().TxPackets
	if b.Plain() { // which are as they were until they are released
		if done = p.Transmit(b, first, end); done > 0 && p.Counters().TxPackets != before {
			r.write(b, first, first+done, true, &ends)
			r.publish(r.next)
		}
		return done
	}
	missed := r.missed.Load()
	r.write(b, first, end, true, &ends)
	done = p.Transmit(b, first, end)
	switch {
	case done == 0 || p.Counters().TxPackets == before:
		r.next = start
		r.missed.Store(missed)
	default:
		r.publish(ends[first+done-1])
	}
	return done
}

// release gives the record that was taken last back to the writer.
func (r *captureRing) release() {
	if r.taken != 0 {
		r.tail.Store(r.taken)
		r.taken = 0
	}
}

// peek returns the time of the oldest record.
func (r *captureRing) peek() (at int64, ok bool) {
	for {
		tail := r.tail.Load()
		if tail == r.head.Load() {
			return 0, false
		}
		whole := uint64(len(r.buf))
		b := r.buf[tail&(whole-1):]
		switch {
		case len(b) < recordHead:
			r.tail.Store(tail + uint64(len(b)))
		case binary.LittleEndian.Uint32(b[recordFlags:])&flagSkip != 0:
			r.tail.Store(tail + uint64(binary.LittleEndian.Uint32(b[recordSize:])))
		default:
			return int64(binary.LittleEndian.Uint64(b[recordTime:])), true
		}
	}
}

// take returns it.
func (r *captureRing) take(f *CapturedFrame) {
	tail := r.tail.Load()
	b := r.buf[tail&uint64(len(r.buf)-1):]
	f.Time = time.Unix(0, int64(binary.LittleEndian.Uint64(b[recordTime:])))
	f.Sent = binary.LittleEndian.Uint32(b[recordFlags:])&flagSent != 0
	f.Len = int(binary.LittleEndian.Uint32(b[recordLen:]))
	f.Data = b[recordHead : recordHead+int(binary.LittleEndian.Uint32(b[recordData:]))]
	r.taken = tail + uint64(binary.LittleEndian.Uint32(b[recordSize:]))
}
