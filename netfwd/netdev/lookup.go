package netdev

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev/netlink"
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
	r.SetInt(index)
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

// lookupLong asks rtnetlink(7) for an interface by one of its other names (Linux 5.5), which are
// too long for the older calls.
func lookupLong(name string) (string, error) {
	body := netlink.InterfaceBody(0, netlink.Attribute(unix.IFLA_ALT_IFNAME, append([]byte(name), 0))...)
	answer, err := netlink.Request(unix.NETLINK_ROUTE, unix.RTM_GETLINK, 0, body)
	if err != nil {
		return "", err
	}
	found := netlink.Attributes(answer[min(len(answer), unix.SizeofIfInfomsg):])[unix.IFLA_IFNAME]
	if len(found) == 0 {
		return "", errors.New("rtnetlink does not say what it is called")
	}
	return unix.ByteSliceToString(found), nil
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

// IsStation reports whether an interface is a Wi-Fi card in station mode, which sends only frames with its own
// source address. Kernels without wireless extensions do not tell.
func IsStation(name string) bool {
	const (
		ask     = 0x8b07 // SIOCGIWMODE of linux/wireless.h
		station = 2      // IW_MODE_INFRA
	)
	socket, err := Socket()
	if err != nil {
		return false
	}
	defer unix.Close(socket)
	r := Named(name)
	return r.Ask(socket, ask) == nil && r.Int() == station
}
