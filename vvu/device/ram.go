package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

const pageSize = 4096

// RAMFile is the file that is the app VM's memory. It stays open while a Device
// uses it, and must keep its size: the monitor of the driver VM is killed by an
// access beyond its end.
type RAMFile struct {
	path string
	file *os.File
	size uint64
	id   peerfd.Identity
}

// OpenRAM opens the file at path. It must have its final size.
func OpenRAM(path string) (*RAMFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("RAM file %s does not exist: create it with --create-ram SIZE, SIZE being the app VM's memory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("RAM file: %w", err)
	}
	r, err := newRAM(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// AdoptRAM takes over a file that OpenRAM or CreateRAM has opened in this process's
// former life, see RAMFile.Dup.
func AdoptRAM(path string, f *os.File) (*RAMFile, error) { return newRAM(path, f) }

// Dup is a second descriptor of the file, for who takes it over.
func (r *RAMFile) Dup() (*os.File, error) {
	fd, err := unix.FcntlInt(r.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("RAM file %s: %w", r.path, err)
	}
	return os.NewFile(uintptr(fd), r.path), nil
}

// CreateRAM opens the file at path and creates it if it does not exist, and gives
// it size bytes. A file that has another size is resized, which must not happen
// while a VM uses it.
func CreateRAM(path string, size uint64) (*RAMFile, error) {
	if err := CheckRAMSize(size); err != nil {
		return nil, fmt.Errorf("RAM file %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("RAM file: %w", err)
	}
	r, err := func() (*RAMFile, error) {
		st, err := f.Stat()
		if err == nil && st.Mode().IsRegular() && uint64(st.Size()) != size {
			err = resize(f, int64(size))
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("RAM file %s is in use by another vvudev and has %d bytes, not %d: stop that one first or leave --create-ram out", path, st.Size(), size)
		}
		if err != nil {
			return nil, fmt.Errorf("RAM file %s: %w", path, err)
		}
		return newRAM(path, f)
	}()
	if err != nil {
		f.Close()
	}
	return r, err
}

// resize changes the size of a file that no other Device has open.
func resize(f *os.File, size int64) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	return os.NewSyscallError("ftruncate", unix.Ftruncate(int(f.Fd()), size))
}

func newRAM(path string, f *os.File) (*RAMFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("RAM file %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("RAM file %s is not a regular file: give the app VM's mem-path, a file in /dev/shm or hugetlbfs", path)
	}
	if st.Size == 0 {
		return nil, fmt.Errorf("RAM file %s is empty: set its final size with --create-ram SIZE before the driver VM starts", path)
	}
	size := uint64(st.Size)
	if err := CheckRAMSize(size); err != nil {
		return nil, fmt.Errorf("RAM file %s: %w", path, err)
	}
	// Shared: several devices may show the same memory, but none may resize it
	// while another has it.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("RAM file %s: another vvudev is changing its size (%w): try again", path, err)
	}
	id, err := peerfd.Identify(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("RAM file %s: %w", path, err)
	}
	return &RAMFile{path: path, file: f, size: size, id: id}, nil
}

// maxRAM keeps the BAR of shared memory within what a guest's address space can hold.
const maxRAM = 1 << 44

// CheckRAMSize refuses a size that no RAM file can have.
func CheckRAMSize(size uint64) error {
	if size == 0 || size%pageSize != 0 || size > maxRAM {
		return fmt.Errorf("size %d is not a multiple of %d between %d and 2^44: use the size of the app VM's memory", size, pageSize, pageSize)
	}
	return nil
}

// Size is the size of the file in bytes.
func (r *RAMFile) Size() uint64 { return r.size }

// Close closes the file, which stays where it is.
func (r *RAMFile) Close() error { return r.file.Close() }

// is reports whether fd means this file.
func (r *RAMFile) is(fd int) (bool, error) {
	id, err := peerfd.Identify(fd)
	return id == r.id, err
}
