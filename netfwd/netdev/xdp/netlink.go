package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// What is asked for by netlink: which program an interface has, why it cannot have ours, and what its driver
// can do with sockets.

// attribute is one of a message.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

func word(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// attributes takes attributes apart, up to the first that makes no sense.
func attributes(b []byte) map[uint16][]byte {
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

// asWord is the value of an attribute of four bytes or more, 0 if it has less.
func asWord(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// refusal is an error that the kernel answers with, and what it says about it.
type refusal struct {
	unix.Errno
	text string
}

func (r *refusal) Error() string {
	if r.text == "" {
		return r.Errno.Error()
	}
	return fmt.Sprintf("%s: %v", r.text, r.Errno)
}

func (r *refusal) Unwrap() error { return r.Errno }

// request sends one request and returns the body of its answer, nil for none but that all is well.
func request(protocol int, kind, flags uint16, body []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	limit := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	const sequence = 1
	message := word(uint32(unix.NLMSG_HDRLEN + len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	message = append(append(append(message, word(sequence)...), word(0)...), body...)
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
	r := &refusal{Errno: unix.Errno(-code)}
	rest := b[4+unix.NLMSG_HDRLEN:]
	if flags&unix.NLM_F_CAPPED == 0 {
		whole := int(binary.NativeEndian.Uint32(b[4:])) - unix.NLMSG_HDRLEN
		rest = rest[min(len(rest), max(0, whole+3)&^3):]
	}
	if flags&unix.NLM_F_ACK_TLVS != 0 {
		r.text = unix.ByteSliceToString(attributes(rest)[unix.NLMSGERR_ATTR_MSG])
	}
	return r
}

// interfaceBody is struct ifinfomsg for an interface, with attributes after it.
func interfaceBody(index int, attributes ...byte) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return append(b, attributes...)
}

// attached returns the program that an interface has, 0 for none, and whether it is a generic one.
func attached(index int) (program uint32, generic bool, err error) {
	answer, err := request(unix.NETLINK_ROUTE, unix.RTM_GETLINK, 0, interfaceBody(index))
	if err != nil || len(answer) < unix.SizeofIfInfomsg {
		return 0, false, fmt.Errorf("find out its XDP program: %w", err)
	}
	xdp := attributes(attributes(answer[unix.SizeofIfInfomsg:])[unix.IFLA_XDP])
	for _, kind := range []uint16{unix.IFLA_XDP_DRV_PROG_ID, unix.IFLA_XDP_SKB_PROG_ID, unix.IFLA_XDP_HW_PROG_ID, unix.IFLA_XDP_PROG_ID} {
		if id := asWord(xdp[kind]); id != 0 {
			return id, kind == unix.IFLA_XDP_SKB_PROG_ID, nil
		}
	}
	return 0, false, nil
}

// explainRefusal finds out what the driver says about a program that it has refused: links do not
// tell. Should it take it now, that is undone.
func explainRefusal(index, program int, flags uint32, refused error) error {
	set := func(fd int, flags uint32) error {
		xdp := append(attribute(unix.IFLA_XDP_FD, word(uint32(fd))), attribute(unix.IFLA_XDP_FLAGS, word(flags))...)
		_, err := request(unix.NETLINK_ROUTE, unix.RTM_SETLINK, 0, interfaceBody(index, attribute(unix.IFLA_XDP|unix.NLA_F_NESTED, xdp)...))
		return err
	}
	err := set(program, flags|unix.XDP_FLAGS_UPDATE_IF_NOEXIST)
	if err == nil {
		_ = set(-1, flags)
		return refused
	}
	var r *refusal
	if errors.As(err, &r) && r.text != "" {
		return r
	}
	return refused
}

// Of the generic netlink family netdev (linux/netdev.h), which golang.org/x/sys has not.
const (
	netdevGet          = 1 // NETDEV_CMD_DEV_GET
	netdevIndex        = 1 // NETDEV_A_DEV_IFINDEX
	netdevXSKFeatures  = 6 // NETDEV_A_DEV_XSK_FEATURES
	xskTxChecksum      = 1 << 1
	genericHeaderBytes = 4
)

// completesChecksums reports whether a driver completes checksums with zero copy. One that
// does not say so does not.
func completesChecksums(index int) bool {
	header := func(command byte) []byte { return []byte{command, 1, 0, 0} }
	answer, err := request(unix.NETLINK_GENERIC, unix.GENL_ID_CTRL, 0,
		append(header(unix.CTRL_CMD_GETFAMILY), attribute(unix.CTRL_ATTR_FAMILY_NAME, []byte("netdev\x00"))...))
	if err != nil || len(answer) < genericHeaderBytes {
		return false
	}
	family := attributes(answer[genericHeaderBytes:])[unix.CTRL_ATTR_FAMILY_ID]
	if len(family) < 2 {
		return false
	}
	answer, err = request(unix.NETLINK_GENERIC, binary.NativeEndian.Uint16(family), 0,
		append(header(netdevGet), attribute(netdevIndex, word(uint32(index)))...))
	if err != nil || len(answer) < genericHeaderBytes {
		return false
	}
	return asWord(attributes(answer[genericHeaderBytes:])[netdevXSKFeatures])&xskTxChecksum != 0
}
