package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/vfio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio/peerfd"
)

// Keeper is the side of the process that is confined. Safe for concurrent use.
type Keeper struct {
	process *os.Process
	lines   map[pci.Address]*line
}

// line is the connection for one function.
type line struct {
	mu        sync.Mutex // held by the one who waits
	conn      *net.UnixConn
	bound     bool // the function was taken from a driver, or from none: there is something to give back
	givesBack bool // GiveBack was called
}

// role is the keeper's; what it is told is its Config.
var role = beside.Role{Name: "keeper", Environment: "VVUFWD_KEEPER"}

// endTime is how long a keeper may take to let go of everything, and drivers to take functions back. That is less than
// who stops vvufwd waits until it is killed: ten seconds, in a service and as /init. A keeper that is late goes on;
// what it would say no one hears.
const endTime = 8 * time.Second

// readyTime is how long a keeper may take to start.
const readyTime = 10 * time.Second

// Start starts the keeper: this program, once more. Its Main must call Run if IsKeeper says
// so. The keeper is ready then: from here on it sees it if this process ends.
func Start(cfg Config) (k *Keeper, err error) {
	k = &Keeper{lines: map[pci.Address]*line{}}
	defer func() {
		if err != nil {
			k.abandon()
			k, err = nil, fmt.Errorf("start the device keeper: %w", err)
		}
	}()
	var files []*os.File
	closeFiles := func() {
		for _, f := range files {
			f.Close()
		}
		files = nil
	}
	defer func() { closeFiles() }()
	for _, function := range cfg.Functions { // the first is beside.FirstFD, whatever becomes of the rest of what it is told
		ours, theirs, err := beside.NewLine()
		if err != nil {
			return k, err
		}
		files = append(files, theirs)
		changed := func(b pci.Binding) bool { return b.Changed && b.Function == function }
		k.lines[function] = &line{conn: ours, bound: slices.ContainsFunc(cfg.Bindings, changed)}
	}
	// share gives the keeper a duplicate of a descriptor, which has another number there.
	share := func(what string, fd int) (there int) {
		if fd < 0 || err != nil {
			return -1
		}
		dup, failed := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if failed != nil {
			err = fmt.Errorf("%s: %w", what, failed)
			return -1
		}
		files = append(files, os.NewFile(uintptr(dup), what))
		return beside.FirstFD + len(files) - 1
	}
	cfg.Shared.Container, cfg.Shared.Bare = share("container", cfg.Shared.Container), share("container", cfg.Shared.Bare)
	held := vfio.Held{Devices: map[pci.Address]int{}}
	if len(cfg.Held.Devices) > 0 {
		held.Memory = share("DMA memory", cfg.Held.Memory)
	}
	for addr, fd := range cfg.Held.Devices {
		held.Devices[addr] = share(addr.String(), fd)
	}
	if cfg.Held = held; err != nil {
		return k, err
	}
	if k.process, err = role.Start(cfg.encode(), files); err != nil {
		return k, err
	}
	closeFiles() // or no line would end with the keeper
	return k, k.lines[cfg.Functions[0]].awaitReady(time.Now().Add(readyTime))
}

// awaitReady waits until the keeper says that it can begin. An error says why it cannot.
func (l *line) awaitReady(deadline time.Time) error {
	if err := l.conn.SetDeadline(deadline); err != nil {
		return err
	}
	var text [maxAnswer]byte
	n, err := l.conn.Read(text[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it is not ready after %v", readyTime)
	case err != nil || n == 0:
		return errEndedEarly
	case text[0] != answerReady:
		return fmt.Errorf("it says %q", text[:n])
	case n > 1:
		return errors.New(string(text[1:n]))
	}
	return l.conn.SetDeadline(time.Time{})
}

// errEndedEarly is of a keeper that was killed, or has crashed.
var errEndedEarly = errors.New("it has ended before it was ready")

// abandon ends a keeper that is not ready. Functions are the caller's to give back.
func (k *Keeper) abandon() {
	k.TakeOver() // should it be ready just now: it would wait for devices that the caller holds
	for _, l := range k.lines {
		l.conn.Close()
	}
	if k.process != nil {
		late := time.AfterFunc(time.Second, func() { _ = k.process.Kill() }) // till then it may say what is wrong
		defer late.Stop()
		_, _ = k.process.Wait()
	}
}

// lineName is what a line is called when a process hands it over to the one that it becomes, which so learns whether the
// function was bound.
func lineName(function pci.Address, bound bool) string {
	if bound {
		return "keeper of " + function.String() + ", to be given back"
	}
	return "keeper of " + function.String()
}

// Hand adds the keeper's lines to the files that this process hands over to the one that it
// becomes, see confine.Policy.Start.
func (k *Keeper) Hand(files map[string]*os.File) error {
	if k == nil {
		return nil
	}
	for function, l := range k.lines {
		if err := beside.Hand(l.conn, lineName(function, l.bound), files); err != nil {
			return fmt.Errorf("hand over the device keeper: %w", err)
		}
	}
	return nil
}

// Inherit is the keeper of the process that this one was. It is nil if that had none.
func Inherit(functions []pci.Address) (*Keeper, error) { return inherit(functions, beside.Inherit) }

func inherit(functions []pci.Address, take func(name string) (*net.UnixConn, error)) (*Keeper, error) {
	k := &Keeper{lines: map[pci.Address]*line{}}
	for _, function := range functions {
		for _, bound := range []bool{false, true} {
			conn, err := take(lineName(function, bound))
			if err != nil {
				return nil, errors.Join(fmt.Errorf("take over the device keeper: %w", err), k.Close())
			}
			if conn != nil {
				k.lines[function] = &line{conn: conn, bound: bound}
			}
		}
	}
	if len(k.lines) == 0 {
		return nil, nil
	}
	return k, nil
}

// TakeOver says that from now on functions are given back only if the caller says so: of a vvufwd
// that is killed they stay bound to vfio-pci, for the next one.
func (k *Keeper) TakeOver() {
	if k == nil {
		return
	}
	for _, l := range k.lines {
		_, _ = l.conn.Write([]byte{requestTakeOver}) // one that has ended undoes nothing
	}
}

// GiveBack has Close give functions back to the drivers that they had before they were bound to vfio-pci. The
// caller has closed them.
func (k *Keeper) GiveBack() {
	if k == nil {
		return
	}
	for _, l := range k.lines {
		l.mu.Lock()
		_ = l.conn.SetDeadline(time.Time{})          // that of a wait that was given up
		_, _ = l.conn.Write([]byte{requestGiveBack}) // of a keeper that has ended Close will tell
		l.givesBack = true
		l.mu.Unlock()
	}
}

// ErrNoKeeper says that no one can get a device back.
var ErrNoKeeper = errors.New("no process is left that could open the device again: restart vvufwd")

// Await waits until a function that was released is back, however long that takes, and
// returns its files. An error other than that of ctx says why a function that is there
// cannot be used, or is ErrNoKeeper.
func (k *Keeper) Await(ctx context.Context, function pci.Address) (vfio.Files, error) {
	return k.ask(ctx, function, requestAwait)
}

// Again is Await for a caller that could not use the files of the last one, and has closed
// them: the function does not have to leave and come back, it is opened again after a pause.
func (k *Keeper) Again(ctx context.Context, function pci.Address) (vfio.Files, error) {
	return k.ask(ctx, function, requestAgain)
}

func (k *Keeper) ask(ctx context.Context, function pci.Address, request byte) (vfio.Files, error) {
	if k == nil || k.lines[function] == nil {
		return vfio.Files{}, ErrNoKeeper
	}
	l := k.lines[function]
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.SetDeadline(time.Time{})
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = l.conn.SetDeadline(time.Unix(1, 0))
		close(late)
	})
	defer func() {
		if !stop() {
			<-late // no deadline but one that is set after this
		}
	}()
	files, err := l.ask(request)
	if ctx.Err() != nil {
		if err == nil {
			_ = files.Close()
		}
		return vfio.Files{}, context.Cause(ctx)
	}
	return files, err
}

func (l *line) ask(request byte) (vfio.Files, error) {
	if _, err := l.conn.Write([]byte{request}); err != nil {
		return vfio.Files{}, fmt.Errorf("%w (%w)", ErrNoKeeper, err)
	}
	var text [maxAnswer]byte
	receiver, bound := peerfd.NewReceiver(l.conn, 2), false
	n, fds, err := receiver.Receive(text[:])
	if err == nil && text[0] == answerBound {
		bound = true
		n, fds, err = receiver.Receive(text[:])
	}
	if err != nil {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("it has ended")
		}
		return vfio.Files{}, fmt.Errorf("%w (%w)", ErrNoKeeper, err)
	}
	l.bound = bound // of a function that has come back the former driver is forgotten
	return parseAnswer(text[:n], fds)
}

// Close ends the keeper, and waits until it has let go of what it held and has given back what it shall.
func (k *Keeper) Close() error { return k.closeWithin(endTime) }

func (k *Keeper) closeWithin(limit time.Duration) error {
	if k == nil {
		return nil
	}
	var errs []error
	end := time.Now().Add(limit)
	for _, l := range k.lines {
		_ = l.conn.SetDeadline(end)
		_ = l.conn.CloseWrite() // it sees that
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for function, l := range k.lines {
		all.Go(func() { // together: as long as one line has a device in it that no one has read, the keeper cannot give it back
			told, err := l.awaitEnd(function)
			if err != nil {
				err = fmt.Errorf("the device keeper has not let go of %v: %w", function, err)
			} else if told != "" {
				err = errors.New(told)
			}
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err, l.conn.Close())
		})
	}
	all.Wait()
	if k.process != nil {
		errs = append(errs, k.process.Release())
	}
	return errors.Join(errs...)
}

// awaitEnd waits until the keeper has closed its side, and returns what it says of a function that it was to
// give back. An answer that no one waits for any more may be before that.
func (l *line) awaitEnd(function pci.Address) (told string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answered := false
	receiver := peerfd.NewReceiver(l.conn, 2)
	for {
		var text [maxAnswer]byte
		n, fds, err := receiver.Receive(text[:])
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "", err
		case err != nil || n == 0:
			if l.givesBack && l.bound && !answered {
				told = fmt.Sprintf("the device keeper has ended too early: %v stays bound to vfio-pci", function)
			}
			return told, nil
		case text[0] == answerBound:
			l.bound = true
		case l.givesBack && text[0] == answerEnd:
			told, answered = string(text[1:n]), true
		}
	}
}
