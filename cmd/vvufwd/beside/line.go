package beside

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
)

// NewLine makes a connection between vvufwd and the process. Packets keep answers apart.
func NewLine() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "vvufwd")
	if ours, err = LineOf(os.NewFile(uintptr(fds[0]), "process")); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// LineOf makes a connection of a file, which is closed.
func LineOf(f *os.File) (*net.UnixConn, error) {
	defer f.Close() // FileConn has a duplicate
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	line, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("%s is not a UNIX socket", f.Name())
	}
	return line, nil
}

// Lines are those in the process, number of them, the first being the descriptor first.
func Lines(first, number int) (lines []*net.UnixConn, err error) {
	for i := range number {
		line, err := LineOf(os.NewFile(uintptr(first+i), "vvufwd"))
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// Hand adds a line to the files that this process hands over to the one that it becomes, by a name,
// see confine.Policy.Start.
func Hand(line *net.UnixConn, name string, files map[string]*os.File) error {
	f, err := line.File()
	if err == nil {
		files[name] = f
	}
	return err
}

// Inherit is the line of that name of the process that this one was, nil if that had none.
func Inherit(name string) (*net.UnixConn, error) {
	f := confine.Inherited(name)
	if f == nil {
		return nil, nil
	}
	return LineOf(f)
}
