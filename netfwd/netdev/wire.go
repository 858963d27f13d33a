package netdev

import "golang.org/x/sys/unix"

// Why a Wire of ours refuses a frame. The kernel has these errors for keys, and none for a frame.
const (
	Filtered = unix.EKEYREJECTED // no such frame may leave here
	Spoofed  = unix.EKEYREVOKED  // its sender must not use its address
)

// Wire is how frames of a queue pair get from the kernel and to it. Its methods belong to the
// goroutine that forwards; they do not block, allocate or log.
type Wire interface {
	// Read reads frames, as many as there are and fit, and sets the first slots. Frames are
	// to lie at frames, of which each is for one; before each there are 128 bytes besides.
	// errno is why there are not more: 0 or EAGAIN if there were none. Of what the
	// kernel could not describe lost is the number.
	Read(slots *[Burst]Slot, frames *[Burst]uint64) (n, lost int, errno unix.Errno)
	// Done says that no one looks any more at what the last Read has read.
	Done()
	// Write sends frames, each with HeaderLen bytes of header right before it. It returns how
	// many it has sent, and why not the next one.
	Write(slots []Slot) (n int, errno unix.Errno)
	// HeaderLen is the length of the header before what is written, in bytes.
	HeaderLen() int
	// FD becomes readable when there are frames, and writable when there is room.
	FD() int
	// FurtherFD is another descriptor that becomes readable when there are frames; less than 0: there is none.
	FurtherFD() int
}
