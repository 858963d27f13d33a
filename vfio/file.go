package vfio

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// openFile opens a device node. Raw descriptors are used throughout: VFIO files
// do not work with the runtime's poller, and ioctls want the number.
func openFile(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		return fd, nil
	}
}

func closeFile(fd int, what string) error {
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close %s: %w", what, err)
	}
	return nil
}
