package tap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

const (
	node  = "/dev/net/tun"
	flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
)

// Open opens up to so many queues of the TAP device of that name, which is made if there
// is none: it is set up then, and vanishes when it is closed.
func Open(name string, queues int) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	socket, err := netdev.SocketFor(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	before, unknown := netdev.Query(socket, name)
	if unknown == nil && !before.Up {
		return nil, notUp(name)
	}
	for multi := queues > 1; len(files) < queues; {
		f, err := openQueue(name, multi)
		switch {
		case errors.Is(err, unix.EINVAL) && len(files) == 0 && multi == (queues > 1):
			multi = !multi // there is one of the other kind
			if !multi {
				queues = 1
			}
			continue
		case errors.Is(err, unix.E2BIG) && len(files) > 0: // as many as the kernel has for one
			return files, nil
		case err != nil:
			return files, explain(name, unknown == nil, err)
		}
		files = append(files, f)
	}
	if unknown != nil {
		if err := netdev.SetUp(socket, name, 0); err != nil {
			return files, fmt.Errorf("set the interface up: %w", err)
		}
	}
	return files, nil
}

func openQueue(name string, multi bool) (*os.File, error) {
	fd, err := unix.Open(node, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: node, Err: err}
	}
	if err := attach(fd, name, multi); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), node), nil
}

// attach makes a descriptor a queue of a device.
func attach(fd int, name string, multi bool) error {
	r := netdev.Named(name)
	want := uint16(flags)
	if multi {
		want |= unix.IFF_MULTI_QUEUE
	}
	r.SetFlags(want)
	return r.Ask(fd, unix.TUNSETIFF)
}

// explain says what to do about an error of opening a device that exists or not.
func explain(name string, exists bool, err error) error {
	var path *fs.PathError
	switch {
	case errors.As(err, &path) && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)):
		return fmt.Errorf("%w: the kernel has no TAP devices: load the module tun, and in a container pass the node in", err)
	case errors.As(err, &path):
		return fmt.Errorf("%w: whoever runs vvufwd must be allowed to read and write it", err)
	case errors.Is(err, unix.EPERM) && exists:
		return fmt.Errorf("interface %s: %w: it belongs to someone else; run as its owner (ip tuntap add ... user) or as root", name, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("interface %s does not exist, and making it takes CAP_NET_ADMIN: run as root, or make it first (ip tuntap add %s mode tap user ...)", name, name)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("interface %s: %w: another program has it; end that, or make the interface with multi_queue", name, err)
	case errors.Is(err, unix.EINVAL) && exists:
		return fmt.Errorf("interface %s is no TAP device: for another interface use packet:%s", name, name)
	}
	return fmt.Errorf("interface %s: %w", name, err)
}

func notUp(name string) error {
	return fmt.Errorf("interface %s is down: ip link set %s up", name, name)
}

// OpenFDs takes queues of a device that someone else has opened, by their descriptors.
func OpenFDs(fds []int) (files []*os.File, err error) {
	device := ""
	for _, fd := range fds {
		name, err := check(fd)
		if err == nil && device != "" && name != device {
			err = fmt.Errorf("descriptor %d is a queue of %s, and the one before of %s: give each device a port of its own", fd, name, device)
		}
		if err != nil {
			closeAll(files)
			return nil, err
		}
		device = name
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), node))
	}
	return files, nil
}

// check finds out whether a descriptor is a queue of a device, and of which.
func check(fd int) (device string, err error) {
	r := netdev.Named("")
	if err := r.Ask(fd, unix.TUNGETIFF); err != nil {
		return "", fmt.Errorf("descriptor %d: %w: it must be an open TAP device, handed over by who starts vvufwd", fd, err)
	}
	if r.Flags()&flags != flags {
		return "", fmt.Errorf("descriptor %d, interface %s: it must be opened with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", fd, r.Name())
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return "", fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return r.Name(), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
