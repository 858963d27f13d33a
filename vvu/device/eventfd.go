package device

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// eventFD is a notifier that a front-end has sent. The other end is hostile and
// can change the file's mode and counter at any time.
type eventFD struct{ fd int }

// newEventFD takes over fd if it is an eventfd, else closes it.
func newEventFD(fd int) (*eventFD, error) {
	kind, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err == nil && kind != "anon_inode:[eventfd]" {
		err = fmt.Errorf("descriptor is %s, want an eventfd", kind)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &eventFD{fd}, nil
}

// signal adds one to the counter. A counter that is full already says what there
// is to say, so it is not waited for, even if the peer made the file blocking.
func (e *eventFD) signal() {
	if !e.ready(unix.POLLOUT) {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(e.fd, one[:])
}

// drain sets the counter to zero and reports whether it was anything else.
func (e *eventFD) drain() bool {
	if !e.ready(unix.POLLIN) {
		return false
	}
	var b [8]byte
	n, _ := unix.Read(e.fd, b[:])
	return n == len(b)
}

func (e *eventFD) ready(events int16) bool {
	p := []unix.PollFd{{Fd: int32(e.fd), Events: events}}
	n, _ := unix.Poll(p, 0)
	return n == 1 && p[0].Revents&events != 0
}

func (e *eventFD) close() {
	if e != nil {
		unix.Close(e.fd)
	}
}
