package packet

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls on a socket that do not block: it is non-blocking.

func recvmmsg(fd int, list []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func sendmmsg(fd int, list []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// at is an address in the slots, which Go does not know of.
func at(addr uint64) *byte { return *(**byte)(unsafe.Pointer(&addr)) }

// bytes is n bytes there.
func bytes(addr uint64, n int) []byte { return unsafe.Slice(at(addr), n) }

// move moves n bytes there, which may overlap. Inlined, with n a constant that is no power of two, it makes Go 1.26.8's
// compiler fail (disjointTypes: one of arguments is not a pointer).
//
//go:noinline
func move(to, from uint64, n int) { copy(bytes(to, n), bytes(from, n)) }

// headerAt is what the kernel says of the frame in a slot of a ring, and statusOf whose the slot is.
func headerAt(addr uint64) *unix.Tpacket2Hdr { return (*unix.Tpacket2Hdr)(unsafe.Pointer(at(addr))) }
func statusOf(addr uint64) *uint32           { return (*uint32)(unsafe.Pointer(at(addr))) }

// auxdata is what comes with a frame: a control message.
type auxdata struct {
	header unix.Cmsghdr
	unix.TpacketAuxdata
}

// auxdataAt is the control message at an address.
func auxdataAt(addr uint64) *auxdata { return (*auxdata)(unsafe.Pointer(at(addr))) }

const auxdataLen = int(unsafe.Sizeof(auxdata{}))
