package port

import "vvufwd/virtio/vring"

// Buffers in shared memory, all counted in bytes.
const (
	cacheLine = 64

	// Header is the vnet header before each frame (VERSION_1: always 12).
	Header = 12

	// headerAt puts the frame after the header on a cache line boundary, as a
	// poll-mode driver's headroom does. A 64-byte frame then dirties one line, not
	// two, and the header, which never changes on transmit, stays in both caches.
	headerAt = cacheLine - Header

	// mergeableBuffer is what a receive buffer holds with MRG_RXBUF, header
	// included; larger frames take several.
	mergeableBuffer = 2048
)

// stride is the distance of buffers that hold room bytes of header and frame.
// It is an odd number of cache lines, so that the first lines of all buffers
// spread over the sets of a cache instead of fighting for two of them.
func stride(room int) int {
	lines := (headerAt + room + cacheLine - 1) / cacheLine
	return (lines | 1) * cacheLine
}

// placement is where the parts of one ring and its buffers lie: offsets into
// the shared memory.
type placement struct {
	desc, avail, used int
	indirect          int // tables of two descriptors, one per entry
	buffers           int
	stride            int // between buffers
	room              int // header and frame, per buffer
	end               int // first byte after all of it
}

const indirectParts = 2 // header, frame

// place lays out a ring of n entries whose buffers hold room bytes, from offset
// at on.
func place(at, n, room int) placement {
	p := placement{desc: align(at, cacheLine), stride: stride(room), room: room}
	p.avail = align(p.desc+vring.TableBytes(n), cacheLine)
	// flags and idx of the used ring end a cache line and its elements begin the
	// next one: each element is then one aligned 64-bit word, and polling idx does
	// not take the line from the device while it writes elements.
	p.used = align(p.avail+vring.AvailBytes(n)+2, cacheLine) + cacheLine - 4
	p.indirect = align(p.used+vring.UsedBytes(n)+2, cacheLine)
	p.buffers = align(p.indirect+n*vring.TableBytes(indirectParts), 4096)
	p.end = p.buffers + n*p.stride
	return p
}

func align(n, to int) int { return (n + to - 1) &^ (to - 1) }
