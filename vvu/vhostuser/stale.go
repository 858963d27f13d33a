package vhostuser

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrInUse reports a socket at which another process listens.
var ErrInUse = errors.New("in use by another process: stop that one or choose another path")

// ClearStale removes the socket at path if no one has it open, so that it can be
// listened at. Nothing there is fine; ErrInUse and a file that is no socket are
// not. Whoever listens there notices nothing. Errors do not name the path, which the caller knows.
func ClearStale(path string) error {
	var there unix.Stat_t
	switch err := unix.Lstat(path, &there); {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return os.NewSyscallError("lstat", err)
	case there.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return errors.New("exists and is not a socket: remove it or choose another path")
	}
	// Connecting a socket of another type tells whether someone is there without
	// showing up as a client: a live socket answers "wrong type".
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	switch err := unix.Connect(s, &unix.SockaddrUnix{Name: path}); {
	case errors.Is(err, unix.ECONNREFUSED):
		return os.NewSyscallError("unlink", unix.Unlink(path))
	case err == nil || errors.Is(err, unix.EPROTOTYPE):
		return ErrInUse
	default:
		return err
	}
}
