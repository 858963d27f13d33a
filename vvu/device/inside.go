package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Inside makes connections to a device for a front-end that is part of this process. One
// goroutine owns it.
type Inside struct {
	device *Device
	end    func()        // of the last connection's session
	done   chan struct{} // closed when that has ended
}

// Inside takes the place of ServeFrontends.
func (d *Device) Inside() *Inside { return &Inside{device: d, end: func() {}} }

// Connect makes a connection, as by a front-end that connects to a socket. It ends the one before.
func (i *Inside) Connect() (*net.UnixConn, error) {
	i.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to the device: %w", err)
	}
	ours, err := unixConn(fds[0])
	theirs, e := unixConn(fds[1])
	if err := errors.Join(err, e); err != nil {
		for _, c := range []*net.UnixConn{ours, theirs} {
			if c != nil {
				c.Close()
			}
		}
		return nil, fmt.Errorf("connect to the device: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	i.end, i.done = func() { cancel(net.ErrClosed) }, done // as if it had been closed
	go func() {
		defer close(done)
		defer cancel(nil)
		i.device.ServeFrontend(ctx, theirs)
	}()
	return ours, nil
}

// Close ends the last connection, and returns when the device has forgotten it.
func (i *Inside) Close() {
	i.end()
	if i.done != nil {
		<-i.done
	}
}

// unixConn takes a descriptor over.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "device")
	defer f.Close() // the connection has a descriptor of its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}
