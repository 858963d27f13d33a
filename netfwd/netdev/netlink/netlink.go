// Package netlink asks the kernel about its interfaces, one request at a time.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Attribute is one of a message.
func Attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// Word is a value of four bytes.
func Word(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// Attributes takes attributes apart, up to the first that makes no sense.
func Attributes(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		const flags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER
		all[binary.NativeEndian.Uint16(b[2:])&^flags] = b[4:n]
		b = b[min(len(b), (n+3)&^3):]
	}
	return all
}

// AsWord is the value of an attribute of four bytes or more, 0 if it has less.
func AsWord(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// Refusal is an error that the kernel answers with, and what it says about it.
type Refusal struct {
	unix.Errno
	Text string // empty: it says nothing
}

func (r *Refusal) Error() string {
	if r.Text == "" {
		return r.Errno.Error()
	}
	return fmt.Sprintf("%s: %v", r.Text, r.Errno)
}

func (r *Refusal) Unwrap() error { return r.Errno }

// Request sends one request and returns the body of its answer, nil for none but that all is well.
func Request(protocol int, kind, flags uint16, body []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	limit := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	const sequence = 1
	message := Word(uint32(unix.NLMSG_HDRLEN + len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	message = append(append(append(message, Word(sequence)...), Word(0)...), body...)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	var answer []byte
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return nil, fmt.Errorf("netlink: %w", err)
		}
		for b := buffer[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.NLMSG_HDRLEN || size > len(b) {
				return nil, errors.New("netlink: an answer that makes no sense")
			}
			got := b[unix.NLMSG_HDRLEN:size]
			if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
				return answer, verdictOf(got, binary.NativeEndian.Uint16(b[6:]))
			}
			answer = append([]byte{}, got...)
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}

// verdictOf reads struct nlmsgerr and what comes after it: with NLM_F_CAPPED nothing but the header of
// the request, else all of that.
func verdictOf(b []byte, flags uint16) error {
	if len(b) < 4+unix.NLMSG_HDRLEN {
		return errors.New("netlink: an answer that makes no sense")
	}
	code := int32(binary.NativeEndian.Uint32(b))
	if code == 0 {
		return nil
	}
	r := &Refusal{Errno: unix.Errno(-code)}
	rest := b[4+unix.NLMSG_HDRLEN:]
	if flags&unix.NLM_F_CAPPED == 0 {
		whole := int(binary.NativeEndian.Uint32(b[4:])) - unix.NLMSG_HDRLEN
		rest = rest[min(len(rest), max(0, whole+3)&^3):]
	}
	if flags&unix.NLM_F_ACK_TLVS != 0 {
		r.Text = unix.ByteSliceToString(Attributes(rest)[unix.NLMSGERR_ATTR_MSG])
	}
	return r
}

// InterfaceBody is struct ifinfomsg for an interface, with attributes after it.
func InterfaceBody(index int, attributes ...byte) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return append(b, attributes...)
}
