package xdp

import (
	"fmt"
	"structs"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// desc is struct xdp_desc, an entry of the rx and tx rings: a frame, or a part of one.
type desc struct {
	_       structs.HostLayout
	addr    uint64 // in the umem
	n       uint32 // bytes
	options uint32
}

// Options of a desc (linux/if_xdp.h).
const (
	optionContinued = 1 << 0 // XDP_PKT_CONTD: the next one has more of the frame
	optionMetadata  = 1 << 1 // XDP_TX_METADATA: something is said of it before it
)

// entry is what a ring has: addresses in the umem, or frames.
type entry interface{ uint64 | desc }

// entryBytes is the size of an entry.
func entryBytes[E entry]() int { return int(unsafe.Sizeof(*new(E))) }

// offsetsBytes is the size of what the kernel tells of rings.
const offsetsBytes = unsafe.Sizeof(unix.XDPMmapOffsets{})

// shared is a ring in memory that is shared with the kernel. One side moves producer and
// writes the entries before it, the other moves consumer. Both count up, and wrap.
type shared[E entry] struct {
	producer, consumer, flags *uint32
	base                      unsafe.Pointer // of entries, mask+1 of them
	mask                      uint32
}

// newShared finds the parts of a ring of size entries, a power of two, in its memory.
func newShared[E entry](memory []byte, at unix.XDPRingOffset, size uint32) (s shared[E], err error) {
	n := uint64(len(memory))
	bytes := uint64(size) * uint64(entryBytes[E]())
	for _, off := range []uint64{at.Producer, at.Consumer, at.Flags} {
		if off > n || n-off < 4 || off%4 != 0 {
			return s, fmt.Errorf("a ring of %d bytes has an index at %d", n, off)
		}
	}
	if size == 0 || size&(size-1) != 0 || at.Desc > n || n-at.Desc < bytes || at.Desc%8 != 0 {
		return s, fmt.Errorf("a ring of %d bytes has %d entries at %d", n, size, at.Desc)
	}
	first := unsafe.Pointer(unsafe.SliceData(memory))
	s.producer = (*uint32)(unsafe.Add(first, at.Producer))
	s.consumer = (*uint32)(unsafe.Add(first, at.Consumer))
	s.flags = (*uint32)(unsafe.Add(first, at.Flags))
	s.base, s.mask = unsafe.Add(first, at.Desc), uint32(size-1)
	return s, nil
}

// at is the entry at a position, whatever that is. Whose it is the indices say: entries are
// written before producer is moved, and read after that was seen.
func (s *shared[E]) at(pos uint32) *E {
	return (*E)(unsafe.Add(s.base, uintptr(pos&s.mask)*unsafe.Sizeof(*(*E)(nil))))
}

func (s *shared[E]) size() uint32 { return s.mask + 1 }

// wantsWakeup reports whether the kernel has to be called to go on. It comes after the entries
// were published, which is a full barrier.
func (s *shared[E]) wantsWakeup() bool {
	return atomic.LoadUint32(s.flags)&unix.XDP_RING_NEED_WAKEUP != 0
}

// output is a ring whose producer is ours: fill, tx.
type output[E entry] struct {
	shared[E]
	next uint32 // where the next entry goes; those before it up to producer are not published
}

func newOutput[E entry](s shared[E]) output[E] {
	return output[E]{s, atomic.LoadUint32(s.producer)}
}

// room is how many entries there is room for. A kernel that says that it has taken what it
// was not given finds none.
func (o *output[E]) room() uint32 { return o.size() - min(o.size(), o.pending()) }

// pending is how many entries the kernel has not taken yet.
func (o *output[E]) pending() uint32 { return o.next - atomic.LoadUint32(o.consumer) }

// put adds an entry, for which there is room.
func (o *output[E]) put(e E) {
	*o.at(o.next) = e
	o.next++
}

// publish shows the kernel all entries.
func (o *output[E]) publish() { atomic.StoreUint32(o.producer, o.next) }

// input is a ring whose consumer is ours: rx, completion.
type input[E entry] struct {
	shared[E]
	next uint32 // the oldest entry that we are not done with
}

func newInput[E entry](s shared[E]) input[E] { return input[E]{s, atomic.LoadUint32(s.consumer)} }

// ready is how many entries there are. A kernel that says that there are more than there can be
// finds that all are looked at.
func (i *input[E]) ready() uint32 { return min(i.size(), atomic.LoadUint32(i.producer)-i.next) }

// get copies the n-th entry from the oldest one, which is ready. The kernel could change it after
// the look.
func (i *input[E]) get(n uint32) E { return *i.at(i.next + n) }

// take shows the kernel that we are done with n more entries.
func (i *input[E]) take(n uint32) {
	i.next += n
	atomic.StoreUint32(i.consumer, i.next)
}
