package show

import (
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
