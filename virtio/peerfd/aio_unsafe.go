package peerfd

import (
	"fmt"
	"structs"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Set makes Events, which ring by its asynchronous I/O.
//
// A write to an eventfd whose counter is full waits, unless the file is non-blocking.
// But that flag is the file's and the peer has the same file: it can take the flag
// away between any check of ours and the write. A completion of asynchronous I/O
// counts up an eventfd inside the kernel, which never waits, whatever the flag says.
// So the set submits reads that are complete at once, from an empty file, with the
// eventfd to tell of it. That is one system call, like the write.
//
// Where the kernel has no asynchronous I/O, Events are written to by a goroutine for
// each, see writer.
//
// It is safe for concurrent use.
type Set struct {
	uses    atomic.Int64 // by its owner, until Close, and by each of its events
	ring    *completions // also the kernel's handle; nil without asynchronous I/O
	empty   int          // the file to read from
	writing atomic.Int32 // writers that are at it
}

// completions is the head of struct aio_ring, which the kernel shares with us
// (fs/aio.c): it puts events at tail, we take them by moving head.
type completions struct {
	_          uint32 // id
	entries    uint32
	head, tail uint32
}

// outstanding is how many events the ring is asked to hold. Each notification is
// complete when it returns and taken at once, so few are needed.
const outstanding = 8

// NewSet returns a set and, if its events have to be written to, why. It is to be made
// before system calls are filtered: to set up asynchronous I/O is not allowed then.
func NewSet() (*Set, error) {
	s := &Set{empty: -1}
	s.uses.Store(1)
	fd, err := unix.MemfdCreate("vvufwd-notify", unix.MFD_CLOEXEC)
	if err != nil {
		return s, fmt.Errorf("create an empty file: %w", err)
	}
	var ring *completions
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, outstanding, uintptr(unsafe.Pointer(&ring)), 0); errno != 0 {
		unix.Close(fd)
		return s, fmt.Errorf("set up asynchronous I/O: %w", errno)
	}
	s.empty, s.ring = fd, ring
	return s, nil
}

// Close releases the set, once. What the kernel keeps is freed when the last event is
// closed, and then no new one may be made.
func (s *Set) Close() { s.leave() }

// leave ends a use of the set.
func (s *Set) leave() {
	if s.uses.Add(-1) == 0 && s.ring != nil {
		unix.Syscall(unix.SYS_IO_DESTROY, uintptr(unsafe.Pointer(s.ring)), 0, 0)
		unix.Close(s.empty)
		s.ring, s.empty = nil, -1
	}
}

// completion is a read that is complete at once and counts an eventfd up.
type completion struct {
	set  *Set
	cb   iocb
	list [1]*iocb // what io_submit wants: pointers
}

// iocb is struct iocb of <linux/aio_abi.h>.
type iocb struct {
	_       structs.HostLayout
	data    uint64
	key     uint32 // the kernel writes it, always the same
	rwFlags uint32
	opcode  uint16
	reqPrio int16
	fildes  uint32
	buf     uint64
	nbytes  uint64
	offset  int64
	_       uint64
	flags   uint32
	resfd   uint32
}

const (
	iocbCmdPread  = 0
	iocbFlagResFD = 1
)

func (c *completion) prepare(s *Set, fd int) {
	c.set = s
	c.cb = iocb{opcode: iocbCmdPread, fildes: uint32(s.empty), flags: iocbFlagResFD, resfd: uint32(fd)}
	c.list[0] = &c.cb
}

// submit counts the eventfd up, or returns false if that cannot be done this way.
func (c *completion) submit() bool {
	ring := c.set.ring
	if ring == nil {
		return false
	}
	done, _, _ := unix.Syscall(unix.SYS_IO_SUBMIT, uintptr(unsafe.Pointer(ring)), 1, uintptr(unsafe.Pointer(&c.list)))
	// Two that ring at once may leave an event for the next to take.
	atomic.StoreUint32(&ring.head, atomic.LoadUint32(&ring.tail))
	return done == 1
}
