package main

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// listen creates the socket that flag names, for the user only. A socket file
// that was left behind is replaced, a live one is not.
func listen(flag, path string) (*net.UnixListener, error) {
	var longest unix.RawSockaddrUnix
	if len(path) >= len(longest.Path) {
		return nil, fmt.Errorf("%s %s: the path is longer than the %d characters that a socket can have: choose a shorter one", flag, path, len(longest.Path)-1)
	}
	if err := vhostuser.ClearStale(path); err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, path, err)
	}
	old := unix.Umask(0o177) // the file is born with its mode
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("%s %s: cannot listen: %w", flag, path, errors.Unwrap(err))
	}
	return l, nil
}
