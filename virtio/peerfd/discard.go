package peerfd

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Bin takes descriptors that a peer has sent and that are not wanted. The zero value
// is empty and ready. It is safe for concurrent use.
//
// To close a file can take as long as its other owner likes: FUSE asks the server of
// the file system, a socket may linger, a terminal wait for its output. So files of
// unknown kind are closed on a goroutine of their own. How many of these a peer can
// tie up is bounded by whoever serves the peer, who looks at Full or Stuck before it
// takes more from it.
type Bin struct {
	closing atomic.Int32
}

// BinSize is how many goroutines close descriptors before a Bin is full. One that has many to close counts as
// several, one for each goroutineShare: the process may not have more than so many open.
const (
	BinSize        = 16
	goroutineShare = 32
)

// Discard closes descriptors, at once or later.
func (b *Bin) Discard(fds ...int) {
	var slow []int
	for _, fd := range fds {
		switch {
		case fd < 0:
		case closesAtOnce(fd):
			unix.Close(fd)
		default:
			slow = append(slow, fd)
		}
	}
	if len(slow) == 0 {
		return
	}
	b.later(len(slow), func() {
		for _, fd := range slow {
			unix.Close(fd)
		}
	})
}

// later closes so many descriptors on a goroutine of its own.
func (b *Bin) later(descriptors int, do func()) {
	shares := int32((descriptors + goroutineShare - 1) / goroutineShare)
	b.closing.Add(shares)
	go func() {
		defer b.closing.Add(-shares)
		do()
	}()
}

// Full reports whether so many descriptors are being closed that the peer should
// not be heard until some are.
func (b *Bin) Full() bool { return b.closing.Load() >= BinSize }

// patience is how long Stuck waits.
const patience = 500 * time.Millisecond

// Stuck reports whether the Bin is full and stays so. On a busy machine it can be full of files that take no time to
// close, whose goroutines have not had their turn yet: that is not the peer's doing. Whoever serves the peer waits for
// that, and no one else.
func (b *Bin) Stuck() bool {
	for end := time.Now().Add(patience); b.Full(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return true
		}
	}
	return false
}

// closesAtOnce reports whether a file is of a kind that the kernel closes without
// asking anyone: an eventfd, or a file in memory.
func closesAtOnce(fd int) bool { return InMemory(fd) == nil || checkEvent(fd) == nil }
