package reopen

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"vvufwd/cmd/vvufwd/beside"
	"vvufwd/netfwd/netdev/xdp"
	"vvufwd/virtio/peerfd"
)

// Port is one whose interface can be opened again.
type Port struct {
	Name      string // of the port
	Interface string // the kernel's name
	Options   xdp.Options
}

// Reopener is vvufwd's side of the process. Safe for concurrent use, a port's Open aside, which one
// goroutine calls at a time.
type Reopener struct{ lines map[string]*net.UnixConn }

// role is the process's; what it is told is its config.
var role = beside.Role{Name: "reopener", Environment: "VVUFWD_REOPEN"}

// config is what the process is told.
type config struct {
	Ports   []Port
	Confine bool
}

// What passes on a line: a byte as the request, and as the answer files or an error's text.
const (
	request       = 'o'
	answerFiles   = 'f'
	answerError   = 'e'
	maxAnswer     = 1024 // bytes
	maxFiles      = 128
	answersWithin = 30 * time.Second // it takes a few seconds at most
)

// lineName is what a port's line is called when a process hands it over to the one that it becomes.
func lineName(port string) string { return "reopener of " + port }

// Start starts the process for these ports, whose main must call Run if IsReopener says so. With
// confine it gives up what it does not need.
func Start(ports []Port, confine bool) (r *Reopener, err error) {
	r = &Reopener{lines: map[string]*net.UnixConn{}}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			err = errors.Join(fmt.Errorf("start what opens interfaces again: %w", err), r.Close())
			r = nil
		}
	}()
	for _, p := range ports {
		ours, theirs, err := beside.NewLine()
		if err != nil {
			return r, err
		}
		files = append(files, theirs)
		r.lines[p.Name] = ours
	}
	text, err := json.Marshal(config{ports, confine})
	if err != nil {
		return r, err
	}
	p, err := role.Start(string(text), files)
	if err != nil {
		return r, err
	}
	return r, p.Release()
}

// Hand adds the lines to the files that this process hands over to the one that it becomes, see
// confine.Policy.Start.
func (r *Reopener) Hand(files map[string]*os.File) error {
	if r == nil {
		return nil
	}
	for port, conn := range r.lines {
		if err := beside.Hand(conn, lineName(port), files); err != nil {
			return fmt.Errorf("hand over what opens interfaces again: %w", err)
		}
	}
	return nil
}

// Inherit is the reopener of the process that this one was, nil if that had none.
func Inherit(ports []string) (*Reopener, error) {
	r := &Reopener{lines: map[string]*net.UnixConn{}}
	for _, port := range ports {
		conn, err := beside.Inherit(lineName(port))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("take over what opens interfaces again: %w", err), r.Close())
		}
		if conn != nil {
			r.lines[port] = conn
		}
	}
	if len(r.lines) == 0 {
		return nil, nil
	}
	return r, nil
}

// ErrNone says that no one can open an interface again.
var ErrNone = errors.New("no process is left that could open the interface again: restart vvufwd")

// Open is xdp.Open for the port's interface.
func (r *Reopener) Open(port string) ([]*os.File, error) {
	if r == nil || r.lines[port] == nil {
		return nil, ErrNone
	}
	conn := r.lines[port]
	_ = conn.SetDeadline(time.Now().Add(answersWithin))
	return ask(conn)
}

func ask(conn *net.UnixConn) (files []*os.File, err error) {
	if _, err := conn.Write([]byte{request}); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNone, err)
	}
	var text [maxAnswer]byte
	n, fds, err := peerfd.NewReceiver(conn, maxFiles).Receive(text[:])
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "xdp"))
	}
	switch {
	case err == nil && text[0] == answerFiles && len(files) > 0:
		return files, nil
	case err == nil && text[0] == answerError && n > 1:
		err = errors.New(string(text[1:n]))
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%w (it has ended)", ErrNone)
	case err != nil: // a late answer must not be taken for the next one
		err = fmt.Errorf("%w (%w)", ErrNone, errors.Join(err, conn.Close()))
	default:
		err = fmt.Errorf("it answers %q with %d files", text[:n], len(fds))
	}
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return nil, err
}

// Close ends the process.
func (r *Reopener) Close() error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, conn := range r.lines {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// IsReopener reports whether this process was started to be one.
func IsReopener() bool { return role.Is() }
