package netdev

import (
	"unsafe"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// Read reads up to n bytes to an address of this process. The descriptor must be non-blocking.
func Read(fd int, at uint64, n int) (int, unix.Errno) {
	got, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(at), uintptr(n))
	if errno != 0 {
		return 0, errno
	}
	return int(got), 0
}

// Write writes n bytes from an address of this process. The descriptor must be non-blocking.
func Write(fd int, at uint64, n int) (int, unix.Errno) {
	got, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(at), uintptr(n))
	if errno != 0 {
		return 0, errno
	}
	return int(got), 0
}

// Bytes is the frame.
func (s *Slot) Bytes() []byte { return unsafe.Slice(*(**byte)(unsafe.Pointer(&s.Frame)), s.Len) }

// HeaderBytes is its virtio-net header, but for num_buffers.
func (s *Slot) HeaderBytes() *[virtionet.LegacyHeaderLen]byte {
	return *(**[virtionet.LegacyHeaderLen]byte)(unsafe.Pointer(&s.Header))
}

// Request is struct ifreq: what is asked of an interface, and the answer.
type Request struct {
	name [unix.IFNAMSIZ]byte
	data [24]byte
}

// Named is a request about the interface of that name.
func Named(name string) (r Request) {
	copy(r.name[:unix.IFNAMSIZ-1], name)
	return r
}

// Name is the interface's name.
func (r *Request) Name() string { return unix.ByteSliceToString(r.name[:]) }

// Int and Flags are the answer.
func (r *Request) Int() int32    { return *(*int32)(unsafe.Pointer(&r.data)) }
func (r *Request) Flags() uint16 { return *(*uint16)(unsafe.Pointer(&r.data)) }

// SetInt and SetFlags set what is wanted.
func (r *Request) SetInt(v int32)    { *(*int32)(unsafe.Pointer(&r.data)) = v }
func (r *Request) SetFlags(v uint16) { *(*uint16)(unsafe.Pointer(&r.data)) = v }

// HardwareAddress is the answer, the bytes of a struct sockaddr, and SetHardwareAddress sets what is wanted,
// for a family such as unix.ARPHRD_ETHER.
func (r *Request) HardwareAddress() [6]byte { return [6]byte(r.data[2:]) }
func (r *Request) SetHardwareAddress(family uint16, a [6]byte) {
	r.SetFlags(family)
	copy(r.data[2:], a[:])
}

// Ask makes an ioctl that takes a Request.
func (r *Request) Ask(fd int, request uint) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(r)))
	if errno != 0 {
		return errno
	}
	return nil
}
