package show

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ram is the file that is the app VM's RAM. vvudev, the driver VM's QEMU and the app VM's QEMU map it. It has no name in any file
// system: it needs no room in /dev/shm, of which containers have little, and is gone with the last of those that map it,
// however they end.
//
// One that is for others to make has a name and nothing else.
type ram struct {
	file *os.File
	size int64
	name string
}

// named reports whether others make the file.
func (r *ram) named() bool { return r != nil && r.file == nil }

// newRAM makes the file with the given size in bytes, all zero.
func newRAM(size int64) (*ram, error) {
	fd, err := unix.MemfdCreate("app-vm-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the app VM's RAM: %w", os.NewSyscallError("memfd_create", err))
	}
	r := &ram{file: os.NewFile(uintptr(fd), "app-vm-ram"), size: size}
	if err := r.file.Truncate(size); err != nil {
		r.file.Close()
		return nil, fmt.Errorf("make the app VM's RAM: %w", err)
	}
	return r, nil
}

// path is where the children of this process open the file; it is empty if there is none.
func (r *ram) path() string {
	switch {
	case r == nil:
		return ""
	case r.named():
		return r.name
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.file.Fd())
}

// clear empties the RAM without changing the file, as switching a machine off does: some firmware does not boot on what a killed
// machine left there.
func (r *ram) clear() error {
	if r == nil { // each start has its own
		return nil
	}
	if err := unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, r.size); err != nil {
		return fmt.Errorf("clear the app VM's RAM: %w", os.NewSyscallError("fallocate", err))
	}
	return nil
}

func (r *ram) Close() error {
	if r.named() {
		return nil
	}
	return r.file.Close()
}
