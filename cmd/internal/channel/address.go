package channel

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// Kind is a kind of place.
type Kind int

// Kinds of places.
const (
	UNIX   Kind = iota + 1 // a socket in the file system
	VSock                  // a port between a virtual machine and its host
	Serial                 // a virtio-serial port: one stream, of which the host has the other end
	TCP
)

// Address names a place. The zero value is none.
type Address struct {
	Kind Kind
	Path string         // of a UNIX socket, absolute
	CID  uint32         // of who listens at a vsock port: a machine; to listen, any
	Port uint32         // of vsock
	Name string         // of a virtio-serial port
	TCP  netip.AddrPort // of a TCP port
}

// Prefixes of addresses that are not paths.
const (
	unixPrefix   = "unix:"
	vsockPrefix  = "vsock:"
	serialPrefix = "virtio-serial:"

	// udevPorts is where udev names virtio-serial ports.
	udevPorts = "/dev/virtio-ports/"
)

// kinds are how places begin that are no paths.
var kinds = []string{unixPrefix, vsockPrefix, serialPrefix}

// IsPlace reports whether a text names a place by its kind, and no file: "virtio-serial" alone, too, although it does not say which.
func IsPlace(text string) bool {
	for _, kind := range kinds {
		if strings.HasPrefix(text+":", kind) {
			return true
		}
	}
	return strings.HasPrefix(text, udevPorts)
}

// ended has a kind alone be read as one without a place, and not as the path of a socket of that name.
func ended(text string) string {
	if slices.Contains(kinds, text+":") {
		return text + ":"
	}
	return text
}

// Parse reads where to listen: PATH or unix:PATH of a socket, vsock:PORT, or virtio-serial:NAME.
func Parse(text string) (Address, error) {
	text = ended(text)
	if port, ok := strings.CutPrefix(text, vsockPrefix); ok {
		n, err := number(port)
		if err != nil {
			return Address{}, fmt.Errorf("%q is not a port of vsock: want vsock:PORT, such as vsock:5000", port)
		}
		return Address{Kind: VSock, CID: unix.VMADDR_CID_ANY, Port: n}, nil
	}
	name, ok := strings.CutPrefix(text, serialPrefix)
	if !ok {
		name, ok = strings.CutPrefix(text, udevPorts)
	}
	if ok {
		if name == "" || strings.ContainsAny(name, "/ \t\n") {
			return Address{}, errors.New("want virtio-serial:NAME, the name= of a virtserialport")
		}
		return Address{Kind: Serial, Name: name}, nil
	}
	return parsePath(strings.TrimPrefix(text, unixPrefix))
}

// ParseDial reads where to connect to: PATH or unix:PATH of a socket, or vsock:CID:PORT.
func ParseDial(text string) (Address, error) {
	text = ended(text)
	both, ok := strings.CutPrefix(text, vsockPrefix)
	if !ok {
		if strings.HasPrefix(text, serialPrefix) {
			return Address{}, errors.New("the host has the other end of a virtio-serial port: name the socket of its chardev")
		}
		return parsePath(strings.TrimPrefix(text, unixPrefix))
	}
	cid, port, _ := strings.Cut(both, ":")
	c, err := number(cid)
	if err != nil {
		return Address{}, fmt.Errorf("%q: want vsock:CID:PORT, with the guest-cid of the machine, such as vsock:3:5000", both)
	}
	p, err := number(port)
	if err != nil {
		return Address{}, fmt.Errorf("%q: want vsock:CID:PORT, with a port's number, such as vsock:3:5000", both)
	}
	return Address{Kind: VSock, CID: c, Port: p}, nil
}

func parsePath(path string) (Address, error) {
	if path == "" {
		return Address{}, errors.New("want the path of a socket, such as /run/vvufwd/control.sock")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Address{}, err
	}
	if err := vhostuser.CheckPath(path); err != nil {
		return Address{}, err
	}
	return Address{Kind: UNIX, Path: path}, nil
}

// number reads a number that is not "any".
func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n == unix.VMADDR_PORT_ANY {
		err = strconv.ErrRange
	}
	return uint32(n), err
}

// ParseTCP reads ADDRESS:PORT. Without an address that is all of the machine's. Names are not looked up, but for localhost.
func ParseTCP(text string) (Address, error) {
	host, port, ok := strings.Cut(text, ":")
	switch {
	case ok && host == "" && !strings.Contains(port, ":"):
		text = "[::]:" + port
	case host == "localhost":
		text = "127.0.0.1:" + port
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return Address{}, errors.New("want ADDRESS:PORT such as 127.0.0.1:9100, [::1]:9100, localhost:9100, or :9100 for all addresses")
	}
	return Address{Kind: TCP, TCP: a}, nil
}

// String is the address as it is read.
func (a Address) String() string {
	switch {
	case a.Kind == VSock && a.CID == unix.VMADDR_CID_ANY:
		return fmt.Sprintf("%s%d", vsockPrefix, a.Port)
	case a.Kind == VSock:
		return fmt.Sprintf("%s%d:%d", vsockPrefix, a.CID, a.Port)
	case a.Kind == Serial:
		return serialPrefix + a.Name
	case a.Kind == TCP:
		return a.TCP.String()
	}
	return a.Path
}

// sockaddr is the address of a socket, and its family.
func (a Address) sockaddr() (int, unix.Sockaddr) {
	switch {
	case a.Kind == VSock:
		return unix.AF_VSOCK, &unix.SockaddrVM{CID: a.CID, Port: a.Port}
	case a.Kind == TCP && a.TCP.Addr().Is4():
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.TCP.Port()), Addr: a.TCP.Addr().As4()}
	case a.Kind == TCP:
		return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.TCP.Port()), Addr: a.TCP.Addr().As16()}
	}
	return unix.AF_UNIX, &unix.SockaddrUnix{Name: a.Path}
}
