package channel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to who listens at an address, a UNIX socket or a vsock port.
func (a Address) Dial(ctx context.Context) (*os.File, error) {
	family, address := a.sockaddr()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", a, err)
	}
	f := os.NewFile(uintptr(fd), a.String())
	if err = connect(ctx, f, fd, address); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %v: %w", a, err), f.Close())
	}
	return f, nil
}

// connect waits for a connection no longer than ctx lasts.
func connect(ctx context.Context, f *os.File, fd int, address unix.Sockaddr) error {
	for {
		err := unix.Connect(fd, address)
		switch {
		case err == nil, errors.Is(err, unix.EISCONN):
			return nil
		case errors.Is(err, unix.EAGAIN) && address != nil: // a UNIX socket with many who wait
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
			continue
		case !errors.Is(err, unix.EINPROGRESS):
			return err
		}
		break
	}
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Now()) })
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	failure := 0
	asked := error(nil)
	err = raw.Write(func(s uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(s), Events: unix.POLLOUT}}
		if n, err := unix.Poll(ready, 0); err != nil || n == 0 {
			return false
		}
		failure, asked = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_ERROR)
		return true
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case asked != nil:
		return asked
	case failure != 0:
		return unix.Errno(failure)
	}
	return nil
}
