package vhostuser

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// longestPath is how long the path of a socket may be.
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// backlog is how many front-ends wait to be accepted at a listener; the kernel may allow less.
const backlog = 4096

// CheckPath refuses a path that no socket can have.
func CheckPath(path string) error {
	if len(path) > longestPath {
		return fmt.Errorf("the path is longer than the %d characters that a socket can have: choose a shorter one", longestPath)
	}
	return nil
}

// Listen makes a socket at path and listens at it, see ListenFile. To close the listener removes it.
func Listen(path string) (*net.UnixListener, error) {
	f, err := ListenFile(path, backlog)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the listener has a descriptor of its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen: %w", errors.Unwrap(err)), os.Remove(path))
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(true)
	return u, nil
}

// ListenFile makes a socket at path and listens at it; one that no one has open any more is replaced, see ClearStale. It is for its
// owner alone (mode 0600) from the moment at which it is there. At most backlog wait to be accepted, and others are refused. Errors do
// not name the path, which the caller knows.
func ListenFile(path string, backlog int) (*os.File, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "@") {
		return nil, errors.New("a socket whose name begins with @ is in no directory, and open to everyone: name a file")
	}
	if err := ClearStale(path); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", os.NewSyscallError("socket", err))
	}
	f := os.NewFile(uintptr(fd), path)
	err = os.NewSyscallError("fchmod", unix.Fchmod(fd, 0o600)) // bind gives the file this mode
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen: %w (does its directory exist, and may we write there?)", err), f.Close())
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen: %w", os.NewSyscallError("listen", err)), os.Remove(path), f.Close())
	}
	return f, nil
}
