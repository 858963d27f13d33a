package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listen creates the socket that flag names, for the user only. A socket file
// that was left behind is replaced, a live one is not.
func listen(flag, path string) (*net.UnixListener, error) {
	var longest unix.RawSockaddrUnix
	if len(path) >= len(longest.Path) {
		return nil, fmt.Errorf("%s %s: the path is longer than the %d characters that a socket can have: choose a shorter one", flag, path, len(longest.Path)-1)
	}
	if err := clearStale(path); err != nil {
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

// clearStale removes the socket at path if nobody has it open.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return errors.New("exists and is not a socket: choose another path")
	}
	// Connecting a socket of another type tells whether somebody is there without
	// showing up as a client: a live socket answers "wrong type".
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	switch err := unix.Connect(s, &unix.SockaddrUnix{Name: path}); {
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case err == nil || errors.Is(err, unix.EPROTOTYPE):
		return errors.New("in use by another process: stop that one or choose another path")
	default:
		return err
	}
}
