package tap

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netlink"
)

// Mode is how a macvtap interface that is made here stands to others at the same interface, see
// ip-link(8). Empty is Bridge.
type Mode string

// Modes.
const (
	Bridge      Mode = "bridge"   // they reach one another
	Private     Mode = "private"  // they do not
	VEPA        Mode = "vepa"     // if the switch at the other end of the wire sends frames back
	Passthrough Mode = "passthru" // there is no other, and all that arrives is for this one
	notOurs     Mode = "not made here"
)

// modes are the kernel's numbers of them (linux/if_link.h).
var modes = map[Mode]uint32{Private: 1, VEPA: 2, Bridge: 4, Passthrough: 8}

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	if modes[Mode(s)] == 0 {
		return "", fmt.Errorf("mode=%s: want bridge, private, vepa or passthru", s)
	}
	return Mode(s), nil
}

// OpenMacvtap opens up to so many queues of the macvtap interface of that name. If it is another
// kind of interface it makes a macvtap interface there, in a network namespace that no one
// else has: whatever ends those who have the files, a kill too, ends the namespace and the interface
// with it, and no privilege is needed for that. The last file is of that namespace then.
func OpenMacvtap(name string, mode Mode, queues int) ([]*os.File, error) {
	socket, err := netdev.SocketFor(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	state, err := netdev.Query(socket, name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("interface %s: %w: ip link shows those that there are", name, err)
	case !state.Up:
		return nil, notUp(name)
	}
	r := netdev.Named(name)
	if err := r.Ask(socket, unix.SIOCGIFINDEX); err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	kind, err := kindOf(int(r.Int()))
	switch {
	case err != nil:
		return nil, fmt.Errorf("interface %s: %w", name, err)
	case kind != "macvtap":
		return makeMacvtap(name, int(r.Int()), mode, queues)
	case mode != "":
		return nil, fmt.Errorf("interface %s is a macvtap interface that has its mode: leave out mode=%s", name, mode)
	}
	return openNode(name, int(r.Int()), queues)
}

// kindOf is what kind of virtual interface one is; empty: none.
func kindOf(index int) (string, error) {
	answer, err := netlink.Request(unix.NETLINK_ROUTE, unix.RTM_GETLINK, 0, netlink.InterfaceBody(index))
	if err != nil || len(answer) < unix.SizeofIfInfomsg {
		return "", fmt.Errorf("find out its kind: %w", err)
	}
	info := netlink.Attributes(netlink.Attributes(answer[unix.SizeofIfInfomsg:])[unix.IFLA_LINKINFO])
	return unix.ByteSliceToString(info[unix.IFLA_INFO_KIND]), nil
}

// openNode opens queues of the macvtap interface with that name and index, through its node.
func openNode(name string, index, queues int) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	path := fmt.Sprintf("/dev/tap%d", index)
	for len(files) < queues {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch {
		case err != nil && len(files) > 0:
			return files, nil // as many as there can be
		case err != nil:
			return files, fmt.Errorf("interface %s: open %s: %w: whoever runs vvufwd must be allowed to, no one else may have it open, and /dev must be the kernel's (devtmpfs)", name, path, err)
		}
		files = append(files, os.NewFile(uintptr(fd), path))
		if err := attach(fd, name, queues > 1); err != nil {
			return files, fmt.Errorf("interface %s: %w", name, err)
		}
		r := netdev.Named("")
		if err := r.Ask(fd, unix.TUNGETIFF); err != nil || r.Name() != name {
			return files, fmt.Errorf("interface %s: %s is of %q, of another network namespace (%w)", name, path, r.Name(), errors.Join(err, errNode))
		}
	}
	return files, nil
}

// errNode says that an index was used twice: those of each namespace begin at 1, and nodes
// are common to all.
var errNode = errors.New("two interfaces have the same index")

// An interface of a vvufwd that was killed takes its time to vanish, and occupies one that it has for
// itself until then.
const (
	vanishing = 5 * time.Second
	tryAgain  = 20 * time.Millisecond
)

// ourName is the interface's name in its own namespace: that of its mode, for New.
func ourName(mode Mode) string { return "mvt-" + string(mode) }

// modeOf is the opposite.
func modeOf(name string) Mode {
	if mode, ok := strings.CutPrefix(name, "mvt-"); ok && modes[Mode(mode)] != 0 {
		return Mode(mode)
	}
	return notOurs
}

// makeMacvtap makes an interface at another one, and opens its queues.
func makeMacvtap(name string, index int, mode Mode, queues int) ([]*os.File, error) {
	if mode == "" {
		mode = Bridge
	} else if _, err := ParseMode(string(mode)); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(vanishing); ; time.Sleep(tryAgain) {
		files, err := tryMacvtap(index, mode, queues)
		again := errors.Is(err, errNode) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL)
		switch {
		case err == nil:
			return files, nil
		case again && time.Now().Before(deadline):
			continue
		case errors.Is(err, unix.EPERM):
			return nil, fmt.Errorf("interface %s: %w: making a macvtap interface takes CAP_NET_ADMIN and CAP_SYS_ADMIN: run as root", name, err)
		case errors.Is(err, unix.EOPNOTSUPP):
			return nil, fmt.Errorf("interface %s: %w: the kernel has no macvtap interfaces: load the module macvtap, or use packet:%s", name, err, name)
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EINVAL):
			return nil, fmt.Errorf("interface %s: %w: it cannot have a macvtap interface (mode %s): it is in a bridge or bond, or has others and one of them passthru", name, err, mode)
		}
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
}

// tryMacvtap makes one with an index that it guesses.
func tryMacvtap(index int, mode Mode, queues int) (files []*os.File, err error) {
	namespace, events, err := newNamespace()
	if err != nil {
		return nil, err
	}
	defer unix.Close(namespace)
	ours := int(1<<24 + rand.Uint32N(1<<24))
	body := netlink.InterfaceBody(ours, slices.Concat(
		netlink.Attribute(unix.IFLA_IFNAME, []byte(ourName(mode)+"\x00")),
		netlink.Attribute(unix.IFLA_LINK, netlink.Word(uint32(index))),
		netlink.Attribute(unix.IFLA_NET_NS_FD, netlink.Word(uint32(namespace))),
		netlink.Attribute(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, append(
			netlink.Attribute(unix.IFLA_INFO_KIND, []byte("macvtap")),
			netlink.Attribute(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, netlink.Attribute(unix.IFLA_MACVLAN_MODE, netlink.Word(modes[mode])))...)))...,
	)
	if _, err := netlink.Request(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body); err != nil {
		return nil, errors.Join(fmt.Errorf("make a macvtap interface: %w", err), events.Close())
	}
	raw, err := events.SyscallConn()
	if err == nil {
		control := raw.Control(func(fd uintptr) { err = netdev.SetUp(int(fd), ourName(mode), 0) })
		err = errors.Join(control, err)
	}
	if err == nil {
		files, err = openNode(ourName(mode), ours, queues)
	}
	if err != nil {
		return nil, errors.Join(err, events.Close())
	}
	return append(files, events), nil
}

// newNamespace makes a network namespace. It lasts as long as the socket that tells of its changes is
// open somewhere.
func newNamespace() (fd int, events *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("make a network namespace: %w", err)
			return
		}
		for _, which := range []string{"all", "default"} { // the interface is to say nothing by itself
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0) // there is none without IPv6
		}
		if fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			err = fmt.Errorf("open the network namespace: %w", err)
			return
		}
		if events, err = netdev.Events(); err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	<-done
	return fd, events, err
}
