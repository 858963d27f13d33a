package netdev

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// State is what an interface is at a moment.
type State struct {
	Name string
	Up   bool // set up
	Runs bool // and has a carrier
	MTU  int  // bytes

	Address [6]byte // Ethernet address, from kinds of interfaces that have to do with it; else zero

	// Apart says that it works, but in another network namespace, where it cannot be asked for: the rest
	// is what was known of it last, taken to be up.
	Apart bool

	// Trouble is why no frames pass although it runs, and what to do. Empty: they do.
	Trouble string
}

// works reports whether frames pass.
func (s State) works() bool { return s.Runs && s.Trouble == "" }

// Query asks for the state of an interface by its name through any socket.
func Query(socket int, name string) (s State, err error) {
	r := Named(name)
	if err := r.Ask(socket, unix.SIOCGIFFLAGS); err != nil {
		return s, err
	}
	flags := r.Flags()
	s = State{Name: name, Up: flags&unix.IFF_UP != 0}
	s.Runs = s.Up && flags&unix.IFF_RUNNING != 0
	if err := r.Ask(socket, unix.SIOCGIFMTU); err != nil {
		return s, err
	}
	s.MTU = int(r.Int())
	return s, nil
}

// ErrRenaming says that an interface is there, but has no name at the moment: the kernel takes the old one away, waits
// until no one looks at that any more, milliseconds or with load much longer, and gives it the new one. Events tell of
// that. Whoever sees this error goes on with what was known before.
var ErrRenaming = errors.New("the interface is being renamed")

// renames is how many times an interface is taken to be renamed between two calls, before ErrRenaming.
const renames = 4

// QueryNamed is Query for an interface that may be renamed at any moment: name finds out what it is called now, and fails
// if there is no such interface any more.
func QueryNamed(socket int, name func() (string, error)) (s State, err error) {
	for range renames {
		n, err := name()
		if err != nil {
			return s, err
		}
		if s, err = Query(socket, n); !errors.Is(err, unix.ENODEV) {
			return s, err
		}
	}
	return s, ErrRenaming
}

// Ethernet finds an interface that is up and carries Ethernet frames, and its index. An error says what is
// to be done.
func Ethernet(socket int, name string) (index int, s State, err error) {
	s, err = Query(socket, name)
	switch {
	case errors.Is(err, unix.ENODEV):
		return 0, s, fmt.Errorf("interface %s does not exist: ip link shows those that do", name)
	case err != nil:
		return 0, s, fmt.Errorf("interface %s: %w", name, err)
	case !s.Up:
		return 0, s, fmt.Errorf("interface %s is down: ip link set %s up", name, name)
	}
	r := Named(name)
	if err := r.Ask(socket, unix.SIOCGIFHWADDR); err != nil {
		return 0, s, fmt.Errorf("interface %s: %w", name, err)
	}
	if r.Flags() != unix.ARPHRD_ETHER { // the family of the address
		return 0, s, fmt.Errorf("interface %s carries no Ethernet frames: use another one", name)
	}
	if err := r.Ask(socket, unix.SIOCGIFINDEX); err != nil {
		return 0, s, fmt.Errorf("interface %s: %w", name, err)
	}
	return int(r.Int()), s, nil
}

// SetUp sets an interface up, with an MTU of so many bytes, or if that is 0 the one that it has. It takes CAP_NET_ADMIN.
func SetUp(socket int, name string, mtu int) error {
	if err := setMTU(socket, name, mtu); err != nil {
		return err
	}
	r := Named(name)
	if err := r.Ask(socket, unix.SIOCGIFFLAGS); err != nil {
		return err
	}
	r.SetFlags(r.Flags() | unix.IFF_UP)
	return r.Ask(socket, unix.SIOCSIFFLAGS)
}

// setMTU sets an interface's MTU if it has another one: a driver may start its card anew for that.
func setMTU(socket int, name string, mtu int) error {
	r := Named(name)
	if mtu == 0 {
		return nil
	}
	if err := r.Ask(socket, unix.SIOCGIFMTU); err != nil || r.Int() == int32(mtu) {
		return err
	}
	r.SetInt(int32(mtu))
	err := r.Ask(socket, unix.SIOCSIFMTU)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("MTU %d: %w: the driver has none like that, or not with the XDP program that someone has attached; ip -d link show %s tells", mtu, err, name)
	}
	return err
}

// CheckName returns an error if no interface can have that name.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("want the name of an interface")
	case len(name) >= unix.IFNAMSIZ:
		return fmt.Errorf("interface %q: the name is too long, the kernel's have at most %d characters", name, unix.IFNAMSIZ-1)
	}
	return checkCharacters(name)
}

// checkCharacters is CheckName apart from the length.
func checkCharacters(name string) error {
	if name == "." || name == ".." || strings.ContainsAny(name, "/:% \t\n") {
		return fmt.Errorf("interface %q: no interface can have that name", name)
	}
	return nil
}

// Socket is one through which interfaces can be asked for.
func Socket() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("create a socket to ask for interfaces: %w", err)
	}
	return fd, nil
}

// SocketFor is Socket, if an interface can have that name.
func SocketFor(name string) (int, error) {
	if err := CheckName(name); err != nil {
		return -1, err
	}
	return Socket()
}
