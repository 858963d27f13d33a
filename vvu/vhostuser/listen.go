package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// longestPath is how long the path of a socket may be.
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// CheckPath refuses a path that no socket can have.
func CheckPath(path string) error {
	if len(path) > longestPath {
		return fmt.Errorf("the path is longer than the %d characters that a socket can have: choose a shorter one", longestPath)
	}
	return nil
}

// Listen makes a socket at path and listens at it; one that no one has open any more is replaced, see ClearStale. It is for its owner
// alone (mode 0600) from the moment at which it is there. To close the listener removes it.
func Listen(path string) (*net.UnixListener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if err := ClearStale(path); err != nil {
		return nil, err
	}
	private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var mode error
		err := raw.Control(func(fd uintptr) { mode = unix.Fchmod(int(fd), 0o600) }) // bind gives the file this mode
		return errors.Join(err, mode)
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without what the caller knows
		}
		return nil, fmt.Errorf("cannot listen: %w (does its directory exist, and may we write there?)", err)
	}
	return l.(*net.UnixListener), nil
}
