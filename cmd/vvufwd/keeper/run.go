package keeper

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio/peerfd"
)

// IsKeeper reports whether this process was started to be a keeper.
func IsKeeper() bool { return role.Is() }

// Run is all that a keeper does. It returns when vvufwd has ended.
func Run(log *zap.Logger) error { return run(log, vfio.StopDMA) }

func run(log *zap.Logger, stopDMA func(device int) error) error {
	beside.IgnoreSignals()
	// One more of the first line, to tell there whether all is well: begin uses that up.
	fd, err := unix.FcntlInt(beside.FirstFD, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keeper: its line: %w", err)
	}
	cfg, wards, err := begin(log, stopDMA)
	_, sent := unix.Write(fd, failure(answerReady, err)) // who has ended has functions to be given back all the same
	_ = unix.Close(fd)
	if err != nil {
		if sent == nil {
			return nil // vvufwd tells the rest
		}
		return err
	}
	err = attend(wards)
	if len(cfg.Held.Devices) > 0 { // no device reaches it any more
		err = errors.Join(err, unix.Close(cfg.Held.Memory))
	}
	return err
}

// begin does all that takes privileges, and what can fail, and looks at the functions as they are now.
func begin(log *zap.Logger, stopDMA func(device int) error) (cfg Config, wards []*ward, err error) {
	if cfg, err = decode(role.Told()); err != nil {
		return cfg, nil, err
	}
	sysfs := pci.Sysfs{}
	policy := cfg.policy(sysfs)
	if err := beside.Begin(policy, cfg.Confine); err != nil {
		return cfg, nil, err
	}
	container := vfio.ShareContainer(cfg.Shared, sysfs)
	lines, err := beside.Lines(beside.FirstFD, len(cfg.Functions))
	if err != nil {
		return cfg, nil, err
	}
	if cfg.Confine {
		if err := policy.Finish(log); err != nil {
			return cfg, nil, err
		}
		if err := cfg.checkUndo(sysfs); err != nil {
			return cfg, nil, err
		}
	}
	for i, function := range cfg.Functions {
		one := &ward{lines[i], newWatcher(function, sysfs, container, cfg.Bind), newHold(function, cfg.Held)}
		one.hold.stopDMA = stopDMA
		for _, binding := range cfg.Bindings {
			if binding.Function == function {
				one.before = binding
			}
		}
		wards = append(wards, one)
	}
	return cfg, wards, nil
}

// checkUndo finds out whether the keeper can give back what it shall: who has bound it may have done that with a capability
// that the keeper has given up.
func (c Config) checkUndo(sysfs pci.Sysfs) error {
	for _, b := range c.Bindings {
		if err := sysfs.CheckUndo(b); err != nil {
			return fmt.Errorf("at the end it could not %w: it has no capabilities, so the user must be allowed to write there; or bind functions to vfio-pci beforehand, without --bind", err)
		}
	}
	return nil
}

// policy is what the keeper needs. Which functions it opens is for the program to see to: their files are
// new ones when they come back, and files that are not there yet Landlock cannot tell from others of
// their directory. To write to sysfs is only for who binds functions.
func (c Config) policy(sysfs pci.Sysfs) confine.Policy {
	p := confine.Policy{OpenVFIO: []string{"/dev/vfio"}, ReadVFIO: []string{"/sys"}, RawIO: c.Shared.Bare >= 0}
	if c.Bind || len(c.Bindings) > 0 {
		p.OpenVFIO = append(p.OpenVFIO, sysfs.BindingDirectories(c.Functions)...)
	}
	return p
}

// ward is one function that is looked after.
type ward struct {
	line *net.UnixConn
	*watcher
	hold *hold
}

// attend is all that is done for functions. None is given back while vvufwd has a line: it may use another one of
// the same IOMMU group, and it closes devices before lines.
func attend(wards []*ward) error {
	errs := make([]error, len(wards))
	var all sync.WaitGroup
	for i, one := range wards {
		all.Go(func() { errs[i] = errors.Join(serve(one.line, one.watcher, one.hold), one.hold.letGo()) })
	}
	all.Wait()
	for i, one := range wards { // together, as drivers take seconds to take some
		all.Go(func() { errs[i] = errors.Join(errs[i], one.end()) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// end gives the function back if it shall be, and says how that went.
func (o *ward) end() error {
	defer o.line.Close()   // tells vvufwd that this is done
	failed := o.giveBack() // the kernel waits until the device is closed
	if o.asked && peerfd.Send(o.line, failure(answerEnd, failed)) == nil {
		return nil // vvufwd tells the rest
	}
	return failed
}

// serve answers the requests of one line until the other side closes it. What is held of the
// device at the end is the caller's to let go.
func serve(conn *net.UnixConn, w *watcher, h *hold) (failed error) {
	var request [1]byte
	for {
		if n, err := conn.Read(request[:]); err != nil || n == 0 {
			return failed
		}
		switch request[0] {
		case requestAwait, requestAgain:
		case requestTakeOver:
			w.kept = true
			continue
		case requestGiveBack:
			w.kept, w.asked = false, true
			continue
		default:
			continue
		}
		// Who waits for the device to return has closed it, and the kernel waits for us.
		failed = errors.Join(failed, h.letGo())
		files, err := w.await(closed(conn), request[0] == requestAgain)
		if w.before.Changed {
			_ = peerfd.Send(conn, []byte{answerBound})
		}
		if errors.Is(err, errEnded) {
			continue // it may have said something before it closed the line
		}
		text, fds := answer(files, err)
		sent := peerfd.Send(conn, text, fds...)
		if err == nil {
			h.take(files) // the other side has them too
		}
		if sent != nil { // there may be a request all the same, which is to be heard
			failed = errors.Join(failed, sent)
			_ = peerfd.Send(conn, failure(answerError, sent)) // for who is still there
		}
	}
}

// closed returns a function that tells whether the other side of a line has closed it, or will
// send no more.
func closed(conn *net.UnixConn) func() bool {
	raw, err := conn.SyscallConn()
	return func() (gone bool) {
		if err != nil {
			return true
		}
		_ = raw.Control(func(fd uintptr) { gone = peerfd.HungUp(int(fd)) })
		return gone
	}
}
