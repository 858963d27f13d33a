package xdp

import (
	"structs"
	"unsafe"

	"golang.org/x/sys/unix"
)

// view is n bytes at an address of this process, of memory that Go neither moves nor frees.
func view(addr uint64, n uint32) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
}

// metadata is the first part of struct xsk_tx_metadata (linux/if_xdp.h).
type metadata struct {
	_          structs.HostLayout
	flags      uint64
	csumStart  uint16 // bytes from the start of the frame
	csumOffset uint16 // and from there
	_          [4]byte
}

// putMetadata says of the frame at an address of this process that its checksum is to be completed.
func putMetadata(frame uint64, start, offset uint16) {
	frame -= metadataLen
	*(*metadata)(*(*unsafe.Pointer)(unsafe.Pointer(&frame))) = metadata{flags: unix.XDP_TXMD_FLAGS_CHECKSUM, csumStart: start, csumOffset: offset}
}

// setOption sets an option of a socket that is a struct.
func setOption[T any](fd, option int, value *T) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(unsafe.Pointer(value)), unsafe.Sizeof(*value), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// getOption reads one, and returns how many bytes of it the kernel knows.
func getOption[T any](fd, option int, value *T) (n int, err error) {
	size := uint32(unsafe.Sizeof(*value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(unsafe.Pointer(value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}

// wakeSend has the kernel send what is in the tx ring, which takes it as long as that takes, and
// wakeReceive has it look at the fill ring. Neither waits.
func wakeSend(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

func wakeReceive(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// pointerRequest is struct ifreq with a pointer.
type pointerRequest struct {
	_    structs.HostLayout
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ethtool makes a request of ethtool's, by a struct that begins with its number and gets the answer.
func ethtool[T any](socket int, name string, value *T) error {
	r := pointerRequest{data: unsafe.Pointer(value)}
	copy(r.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	if errno != 0 {
		return errno
	}
	return nil
}
