package peerfd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// InMemory returns an error unless a descriptor is of a file in memory: a memfd, or one
// in tmpfs or hugetlbfs. It is to be asked before anything else is asked of a file
// that a peer has sent: who serves a file system of its own (FUSE) can let every
// request wait, fstat(2) among them, and every access to mapped pages.
func InMemory(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return fmt.Errorf("its file is not in memory (want a memfd, or one in tmpfs or hugetlbfs such as /dev/shm): %w", err)
	}
	return nil
}

// Identity tells files from each other, also those of which one has several
// descriptors.
type Identity struct {
	Major, Minor uint32 // of the file system's device
	Inode        uint64
}

// Identify returns the identity of a file that a peer has sent, of whatever kind. It
// asks for what the kernel knows anyway: a server of a file system is not asked.
func Identify(fd int) (Identity, error) {
	var st unix.Statx_t
	const flags = unix.AT_EMPTY_PATH | unix.AT_STATX_DONT_SYNC
	if err := unix.Statx(fd, "", flags, unix.STATX_INO, &st); err != nil {
		return Identity{}, fmt.Errorf("find out which file it is: %w", err)
	}
	return Identity{st.Dev_major, st.Dev_minor, st.Ino}, nil
}
