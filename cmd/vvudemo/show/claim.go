package show

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// claim makes the output directory, and keeps another vvudemo from writing its logs and captures over these for as long as the file
// that it returns is open. The kernel drops the claim should the process die.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("output directory: %w", err)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, fmt.Errorf("another vvudemo is running that leaves its files in %s: wait until it has ended, or give one of both another directory with --build", dir)
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("output directory %s: lock: %w", dir, err)
	}
	return f, nil
}
