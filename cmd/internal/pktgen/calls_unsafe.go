package pktgen

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// recvmmsg and sendmmsg are the system calls, on a socket that does not block.
func recvmmsg(fd int, list []unix.Mmsghdr, flags int) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func sendmmsg(fd int, list []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// arrival is the control message that says when a frame came.
type arrival struct {
	header unix.Cmsghdr
	at     unix.Timespec
}

const arrivalLen = int(unsafe.Sizeof(arrival{}))

// control makes a message header receive it here.
func (a *arrival) control(h *unix.Msghdr) {
	h.Control = (*byte)(unsafe.Pointer(a))
	h.SetControllen(arrivalLen)
}
