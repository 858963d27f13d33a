package socket

import (
	"fmt"
	"structs"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A notifier rings eventfds that a front-end shares with us, and never waits.
//
// A write to an eventfd whose counter is full waits, unless the file is
// non-blocking. But that flag is the file's and the front-end has the same file:
// it can take the flag away between any check of ours and the write, and would
// stop the forwarding thread for good. A completion of asynchronous I/O counts up
// an eventfd inside the kernel, which never waits, whatever the flag says. So
// the notifier submits reads that are complete at once, from an empty file, with
// the eventfd to tell of it. That is one system call, like the write.
//
// Where the kernel has no asynchronous I/O it writes, after a look whether the
// write would wait: that guards against accidents, though not against a race.
//
// It is safe for concurrent use, except close.
type notifier struct {
	ring  *completions // also the kernel's handle; nil without asynchronous I/O
	empty int          // the file to read from
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

// newNotifier returns a notifier and, if it can only write, why.
func newNotifier() (*notifier, error) {
	n := &notifier{empty: -1}
	fd, err := unix.MemfdCreate("vvufwd-notify", unix.MFD_CLOEXEC)
	if err != nil {
		return n, fmt.Errorf("create an empty file: %w", err)
	}
	var ring *completions
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, outstanding, uintptr(unsafe.Pointer(&ring)), 0); errno != 0 {
		unix.Close(fd)
		return n, fmt.Errorf("set up asynchronous I/O: %w", errno)
	}
	n.empty, n.ring = fd, ring
	return n, nil
}

// close frees what the kernel keeps. No call may be rung any more.
func (n *notifier) close() {
	if n.ring != nil {
		unix.Syscall(unix.SYS_IO_DESTROY, uintptr(unsafe.Pointer(n.ring)), 0, 0)
		unix.Close(n.empty)
		n.ring, n.empty = nil, -1
	}
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

// call interrupts a guest through its eventfd.
type call struct {
	notifier *notifier
	fd       int
	request  iocb
	list     [1]*iocb // what io_submit wants: pointers
}

// call returns what rings the eventfd fd, which stays the caller's.
func (n *notifier) call(fd int) *call {
	c := &call{notifier: n, fd: fd}
	c.request = iocb{opcode: iocbCmdPread, fildes: uint32(n.empty), flags: iocbFlagResFD, resfd: uint32(fd)}
	c.list[0] = &c.request
	return c
}

// Ring adds one to the eventfd.
func (c *call) Ring() {
	ring := c.notifier.ring
	if ring == nil {
		c.write()
		return
	}
	done, _, _ := unix.Syscall(unix.SYS_IO_SUBMIT, uintptr(unsafe.Pointer(ring)), 1, uintptr(unsafe.Pointer(&c.list)))
	// Two that ring at once may leave an event for the next to take.
	atomic.StoreUint32(&ring.head, atomic.LoadUint32(&ring.tail))
	if done != 1 {
		c.write()
	}
}

// one is what a notification adds to an eventfd's counter.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// write rings the eventfd unless that would wait. A counter that is full has a
// notification waiting already.
func (c *call) write() {
	ready := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(ready, 0); n == 1 && err == nil {
		unix.Write(c.fd, one)
	}
}
