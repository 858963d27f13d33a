package appliance

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchEnter sends on the channel when a line ends in what r reads. It never sends
// for a nil reader. The goroutine that it starts lives until r fails; a console has
// no end, so an end of file (Ctrl-D) counts for nothing.
func watchEnter(r io.Reader) <-chan struct{} {
	enter := make(chan struct{}, 1)
	if r == nil {
		return enter
	}
	go func() {
		var buf [64]byte
		for {
			n, err := r.Read(buf[:])
			if bytes.ContainsAny(buf[:n], "\r\n") {
				select {
				case enter <- struct{}{}:
				default: // one is enough
				}
			}
			if errors.Is(err, io.EOF) {
				time.Sleep(time.Second) // in case it is there to stay
			} else if err != nil {
				return
			}
		}
	}()
	return enter
}

// isTerminal reports whether a file is one, so that a person may type there.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// leadsNowhere reports whether a descriptor is closed or open on /dev/null, which is
// what the Go run-time puts in the place of a closed standard stream.
func leadsNowhere(fd int) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return true
	}
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// attachConsole opens a console device as the standard streams.
func attachConsole(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	for stream := range 3 {
		if err := unix.Dup3(fd, stream, 0); err != nil && fd != stream {
			return os.NewSyscallError("dup3", err)
		}
	}
	if fd > 2 {
		return unix.Close(fd)
	}
	return nil
}

// drain waits until a terminal has sent all that was written to it, or until patience
// ends.
func drain(f *os.File, patience time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// tcdrain(3). A file that is no terminal has nothing to wait for.
		_ = unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1)
	}()
	select {
	case <-done:
	case <-time.After(patience):
	}
}
