package show

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// longestSocketDir leaves room for the names of the demo's sockets within the 107 bytes that a socket's path may have.
const longestSocketDir = 90

// socketDir makes a directory for sockets that only this user may enter.
func socketDir() (string, error) {
	parent := os.TempDir()
	if len(parent) > longestSocketDir-20 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "vvudemo-")
	if err != nil {
		return "", fmt.Errorf("directory for sockets: %w", err)
	}
	return dir, nil
}

// ramFile chooses where the app VM's RAM file of the given size goes: into memory if that has room (a container's /dev/shm often
// has not), else into dir. The file itself is made by vvudev or QEMU.
func ramFile(dir string, size int64) (string, error) {
	name := filepath.Base(dir) + ".ram" // as unique as dir
	for _, parent := range []string{"/dev/shm", dir} {
		var fs unix.Statfs_t
		if err := unix.Statfs(parent, &fs); err != nil {
			continue
		}
		const spare = 32 << 20
		if unix.Access(parent, unix.W_OK) == nil && int64(fs.Bavail)*int64(fs.Bsize) >= size+spare {
			return filepath.Join(parent, name), nil
		}
	}
	return "", fmt.Errorf("no room for the app VM's RAM file of %d MiB in /dev/shm or %s: make room, or set TMPDIR", size>>20, dir)
}

// clearRAM empties the app VM's RAM file without changing its size, as switching a machine off does: some firmware does not boot
// on what a killed machine left there. The file stays the same, because vvudev and the driver VM have it mapped. A file that
// QEMU has yet to make is fine.
func clearRAM(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clear the app VM's RAM: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("clear the app VM's RAM: %w", err)
	}
	if info.Size() == 0 {
		return nil
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, info.Size()); err != nil {
		return fmt.Errorf("clear the app VM's RAM in %s: %w", path, err)
	}
	return nil
}
