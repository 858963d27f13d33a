package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio/peerfd"
)

// IsKeeper reports whether this process was started to be a keeper.
func IsKeeper() bool { return os.Getenv(environment) != "" }

// Run is all that a keeper does. It returns when vvufwd has ended.
func Run(log *zap.Logger) error {
	cfg, err := decode(os.Getenv(environment))
	if err != nil {
		return err
	}
	policy := confine.Policy{OpenVFIO: []string{"/sys", "/dev/vfio"}, RawIO: cfg.Shared.Bare >= 0}
	// Signals to all of a terminal's processes are for vvufwd, which we end with.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	if cfg.Confine && !confine.Started() {
		return policy.Start(os.Args, nil, nil) // descriptors and signals stay as they are
	}
	container := vfio.ShareContainer(cfg.Shared, pci.Sysfs{})
	var lines []*net.UnixConn
	for i := range cfg.Functions {
		file := os.NewFile(uintptr(cfg.firstLine+i), "vvufwd")
		conn, err := net.FileConn(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("keeper: %w", err)
		}
		lines = append(lines, conn.(*net.UnixConn))
	}
	if cfg.Confine {
		if err := policy.Finish(log); err != nil {
			return fmt.Errorf("keeper: %w", err)
		}
	}
	var all sync.WaitGroup
	errs := make([]error, len(cfg.Functions))
	for i, function := range cfg.Functions {
		w := newWatcher(function, container, cfg.Bind)
		all.Go(func() {
			serve(lines[i], w)
			errs[i] = w.giveBack() // vvufwd has closed the device before the line
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// serve answers the requests of one line until the other side closes it.
func serve(conn *net.UnixConn, w *watcher) {
	defer conn.Close()
	var request [1]byte
	for {
		if n, err := conn.Read(request[:]); err != nil || n == 0 {
			return
		}
		files, err := w.await(closed(conn))
		if errors.Is(err, errEnded) {
			return
		}
		text, fds := answer(files, err)
		failed := peerfd.Send(conn, text, fds...)
		if err == nil {
			_ = files.Close() // the other side has them now
		}
		if failed != nil {
			return
		}
	}
}

// closed returns a function that tells whether the other side of a line has closed it.
func closed(conn *net.UnixConn) func() bool {
	raw, err := conn.SyscallConn()
	return func() (gone bool) {
		if err != nil {
			return true
		}
		_ = raw.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, _ := unix.Poll(fds, 0)
			gone = n > 0 && fds[0].Revents&unix.POLLHUP != 0
		})
		return gone
	}
}
