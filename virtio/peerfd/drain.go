package peerfd

import "golang.org/x/sys/unix"

// Drainer empties eventfds. The zero value is ready; one goroutine owns it. It does not
// allocate after its first use.
type Drainer struct {
	counter [1][]byte
}

// Drain sets an eventfd's counter to zero (a semaphore's to one less) and reports
// whether it was anything else. It never waits: that an eventfd is non-blocking is a
// flag that whoever shares it can take away, after having taken the event too, so
// each read asks for it again. Kernels before 5.8 cannot do that for eventfds; they are
// asked first whether a read would wait, which guards against accidents only.
func (d *Drainer) Drain(fd int) bool {
	if d.counter[0] == nil {
		d.counter[0] = make([]byte, 8)
	}
	n, err := unix.Preadv2(fd, d.counter[:], -1, unix.RWF_NOWAIT)
	if err == unix.EOPNOTSUPP && ready(fd, unix.POLLIN) {
		n, err = unix.Read(fd, d.counter[0])
	}
	return err == nil && n == len(d.counter[0])
}

// ready reports whether an eventfd can be read or written at this moment.
func ready(fd int, events int16) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(p[:], 0)
	return n == 1 && err == nil && p[0].Revents&events != 0
}
