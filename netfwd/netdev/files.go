package netdev

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Take takes the descriptor out of a file, which is closed. Go's own poller does not
// know of it any more: else it would wake up for each frame.
func Take(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	e := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) })
	if err = errors.Join(e, err); err != nil {
		fd = -1
		err = fmt.Errorf("duplicate a descriptor: %w", err)
	}
	return fd, errors.Join(err, f.Close())
}
