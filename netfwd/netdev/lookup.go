package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"
)

// maxOtherName is how many characters one of an interface's other names has at most.
const maxOtherName = 127

// CheckAnyName is CheckName for a name that may be one of the other names that an interface has
// besides its own (ip link property add), which are longer.
func CheckAnyName(name string) error {
	if len(name) < unix.IFNAMSIZ {
		return CheckName(name)
	}
	if len(name) > maxOtherName {
		return fmt.Errorf("interface %.32q...: the name is too long, an interface's other names have at most %d characters", name, maxOtherName)
	}
	return checkCharacters(name)
}

// Lookup is the name that an interface has for the kernel, which may be given by one of its other
// names. The error is an ErrNotThere if there is none in this network namespace, and says which there are.
func Lookup(name string) (string, error) {
	if err := CheckAnyName(name); err != nil {
		return "", err
	}
	found, err := lookup(name)
	if errors.Is(err, unix.ENODEV) {
		return "", notThere(name)
	}
	if err != nil {
		return "", fmt.Errorf("interface %s: %w", name, err)
	}
	return found, nil
}

func lookup(name string) (string, error) {
	if len(name) >= unix.IFNAMSIZ {
		return lookupLong(name)
	}
	socket, err := Socket()
	if err != nil {
		return "", err
	}
	defer unix.Close(socket)
	r := Named(name)
	if err := r.Ask(socket, unix.SIOCGIFINDEX); err != nil { // knows other names, too
		return "", err
	}
	index := r.Int()
	r = Named("")
	r.SetIndex(index)
	err = r.Ask(socket, unix.SIOCGIFNAME)
	return r.Name(), err
}

// listed bounds how many interfaces an error message names.
const listed = 16

// notThere is the error for an interface that does not exist.
func notThere(name string) error {
	there := "ip link shows those that do"
	if all, err := net.Interfaces(); err == nil && len(all) > 0 {
		var names []string
		for _, i := range all[:min(len(all), listed)] {
			names = append(names, i.Name)
		}
		if more := len(all) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		there = "there are " + strings.Join(names, ", ")
	}
	return fmt.Errorf("interface %s %w: %s; for one of another network namespace start vvufwd there (ip netns exec)", name, ErrNotThere, there)
}

// ErrNotThere says that there is no interface of a name.
var ErrNotThere = errors.New("does not exist")

// Bytes of headers of rtnetlink(7).
const (
	linkHeader = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	attrHeader = unix.SizeofRtAttr
)

// lookupLong asks rtnetlink(7) for an interface by one of its other names (Linux 5.5), which are
// too long for the older calls.
func lookupLong(name string) (string, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, linkRequest(name), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return "", err
	}
	// The kernel has answered before the call returned.
	answer := make([]byte, 32<<10)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return "", err
	}
	return linkName(answer[:n])
}

// linkRequest asks for the interface of that name.
func linkRequest(name string) []byte {
	value := append([]byte(name), 0)
	length := linkHeader + attrHeader + len(value)
	b := make([]byte, 0, length+3)
	b = binary.NativeEndian.AppendUint32(b, uint32(length))
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_GETLINK)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, linkHeader-len(b))...)
	b = binary.NativeEndian.AppendUint16(b, uint16(attrHeader+len(value)))
	b = binary.NativeEndian.AppendUint16(b, unix.IFLA_ALT_IFNAME)
	return append(b, value...)
}

var errNoAnswer = errors.New("rtnetlink gave no answer that makes sense")

// linkName reads the answer.
func linkName(b []byte) (string, error) {
	if len(b) < unix.SizeofNlMsghdr+4 {
		return "", errNoAnswer
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case unix.NLMSG_ERROR:
		return "", unix.Errno(-int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])))
	case unix.RTM_NEWLINK:
	default:
		return "", errNoAnswer
	}
	for b = b[min(len(b), linkHeader):]; len(b) >= attrHeader; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < attrHeader || n > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == unix.IFLA_IFNAME {
			return unix.ByteSliceToString(b[attrHeader:n]), nil
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return "", errNoAnswer
}

// Driver is the kernel's driver of an interface, "tun" for one, and where the device is that it
// drives, a PCI address for one. Either may be empty: not all drivers tell.
func Driver(name string) (driver, place string) {
	socket, err := Socket()
	if err != nil {
		return "", ""
	}
	defer unix.Close(socket)
	info, err := unix.IoctlGetEthtoolDrvinfo(socket, name)
	if err != nil {
		return "", ""
	}
	return unix.ByteSliceToString(info.Driver[:]), unix.ByteSliceToString(info.Bus_info[:])
}
