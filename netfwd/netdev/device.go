package netdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Interface is what a kind of port does to its interface. Control calls it, with one exception:
// Dropped may be called at any time until Close.
type Interface interface {
	// Queues makes its queue pairs, once. They are to look at c while they forward.
	Queues(name string, c *Condition) ([]Queue, error)
	// Look asks for the state. An error says that the interface is gone, or ErrRenaming that there will soon be more to see.
	Look() (State, error)
	// Return gets hold again of an interface that was gone.
	Return() error
	// Dropped is how many frames the kernel had no room for, if it tells, since the start.
	Dropped() (n uint64, known bool)
	Close() error
}

// Translator is an Interface that changes frames on their way.
type Translator interface {
	// Translation is what statistics tell of that, as JSON. It may be called at any time.
	Translation() any
}

// Elsewhere is an Interface that may be in another network namespace, or have reasons of its own to be
// looked at.
type Elsewhere interface {
	// Events is a socket like that of Events in its namespace, nil for that of this process.
	Events() (*os.File, error)
	// Prompts says when to look; nil: never.
	Prompts() <-chan struct{}
}

// Device is an open interface with its queue pairs.
type Device struct {
	name      string
	iface     Interface
	queues    []Queue
	events    *os.File // a netlink socket: tells when to look
	log       *zap.Logger
	condition Condition
	sleep     sleepWatch

	state   State // as it was last seen
	gone    bool
	why     string        // it stays so although it is there again, as was said last
	returns atomic.Uint64 // how many times it came back

	onLink func(up bool)
}

// NewDevice makes ports of an interface, which is its own from then on also if it fails. name
// identifies it in logs and counters.
func NewDevice(name string, i Interface, log *zap.Logger) (d *Device, err error) {
	d = &Device{name: name, iface: i, log: log, onLink: func(bool) {}, sleep: sleepWatch{clock: kernelClock}}
	d.sleep.slept()
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.events, err = eventsOf(i); err != nil { // from now on: nothing is missed after the first look
		return d, err
	}
	if d.state, err = firstLook(i); err != nil {
		return d, fmt.Errorf("%s: %w", name, err)
	}
	d.condition.Set(d.state)
	d.sayTrouble(State{}, d.state)
	if d.queues, err = i.Queues(name, &d.condition); err != nil {
		return d, err
	}
	return d, nil
}

// firstLook is Look, when nothing is known yet to go on with.
func firstLook(i Interface) (s State, err error) {
	for range renamed {
		if s, err = i.Look(); !errors.Is(err, ErrRenaming) {
			break
		}
		time.Sleep(settling)
	}
	return s, err
}

// Ports are its queue pairs.
func (d *Device) Ports() []Queue { return d.queues }

// Up reports whether the interface has a link, as far as was seen. It is for the time before Run.
func (d *Device) Up() bool { return d.state.works() }

// AwaitLink waits for a link until ctx is done, before Run, and reports whether there is one.
func (d *Device) AwaitLink(ctx context.Context) bool {
	tick := time.NewTicker(settling)
	defer tick.Stop()
	for !d.state.works() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			d.look()
		}
	}
	return true
}

// Follow says whom to tell of changes before Run: wake makes a sleeping forwarder look at all
// ports, onLink is told of the link.
func (d *Device) Follow(wake func(), onLink func(up bool)) {
	d.condition.wake.Store(&wake)
	d.onLink = onLink
}

// Stats are what statistics tell of a device.
type Stats struct {
	Link    bool    `json:"link"`
	Returns uint64  `json:"returns"`                  // how many times the interface was gone and came back
	Dropped *uint64 `json:"kernel_dropped,omitempty"` // frames for us that the kernel had no room for

	Translation any `json:"l2nat,omitempty"` // of a Translator
}

// Stats may be called at any time until Close.
func (d *Device) Stats() Stats {
	s := Stats{Link: !d.condition.Down(), Returns: d.returns.Load()}
	if n, known := d.iface.Dropped(); known {
		s.Dropped = &n
	}
	if t, ok := d.iface.(Translator); ok {
		s.Translation = t.Translation()
	}
	return s
}

// How long after a change the next look is at the earliest, and without one at the latest: a
// queue pair may have found out by itself that the interface does not work.
const (
	settling = 20 * time.Millisecond
	lookEach = 2 * time.Second
	renamed  = 250 // times settling is how long an interface may take to get another name while it is opened
)

// Run follows the interface until ctx is done.
func (d *Device) Run(ctx context.Context) error {
	changes := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { d.events.SetReadDeadline(time.Now()) })
	defer stop()
	go Watch(d.events, changes)
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	var prompts <-chan struct{}
	if e, ok := d.iface.(Elsewhere); ok {
		prompts = e.Prompts()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
			time.Sleep(settling)
		case <-prompts:
			time.Sleep(settling)
		case <-tick.C:
		}
		d.look()
	}
}

// Watch tells of Events until the file has none any more.
func Watch(events *os.File, changes chan<- struct{}) {
	message := make([]byte, 16<<10)
	for {
		if _, err := events.Read(message); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		select {
		case changes <- struct{}{}:
		default:
		}
	}
}

// look finds out what has become of the interface.
func (d *Device) look() {
	if r, ok := d.iface.(Resumer); ok && d.sleep.slept() {
		d.log.Info("the machine was suspended", zap.String("interface", d.state.Name))
		r.Resume()
	}
	before := d.state
	now, err := d.iface.Look()
	if errors.Is(err, ErrRenaming) {
		return // Events tell when it has its name
	}
	if err != nil {
		d.condition.Fail()
		if !d.gone {
			d.gone = true
			d.log.Warn("the interface is gone; its port waits for it", zap.String("interface", before.Name), zap.Error(err))
			if before.works() { // else it was told
				d.onLink(false)
			}
		}
		if err := d.iface.Return(); err != nil {
			d.sayStays(err)
			return
		}
		if now, err = d.iface.Look(); err != nil {
			return
		}
	}
	if d.gone {
		d.gone, d.why, before = false, "", State{Name: before.Name}
		d.returns.Add(1)
		d.log.Info("the interface is back", zap.String("interface", now.Name))
	}
	if before.Name != now.Name {
		d.log.Info("the interface has another name", zap.String("before", before.Name), zap.String("now", now.Name))
	}
	if now.Apart && !before.Apart {
		d.log.Info("the interface was moved to another network namespace: its port goes on, but does not see whether it is up",
			zap.String("interface", now.Name), zap.Int("mtu", now.MTU))
	}
	d.sayTrouble(before, now)
	d.state = now
	if d.condition.Set(now); before.works() != now.works() {
		d.log.Info("link", zap.String("interface", now.Name), zap.Bool("up", now.works()))
		d.onLink(now.works())
	}
}

// sayTrouble says why no frames pass although the interface runs, when that is new.
func (d *Device) sayTrouble(before, now State) {
	if now.Trouble != "" && before.Trouble != now.Trouble {
		d.log.Warn("the port cannot use the interface as it is now", zap.String("interface", now.Name), zap.String("why", now.Trouble))
	}
}

// sayStays says, once for each reason, why an interface is of no use although it is there again.
func (d *Device) sayStays(err error) {
	if text := err.Error(); !errors.Is(err, unix.ENODEV) && text != d.why {
		d.why = text
		d.log.Warn("the interface is back, but the port cannot use it; trying again", zap.Error(err))
	}
}

// Close closes everything, when no one forwards any more and Run has returned.
func (d *Device) Close() error {
	errs := []error{closeQueues(d.queues)}
	if d.events != nil {
		errs = append(errs, d.events.Close())
	}
	return errors.Join(append(errs, d.iface.Close())...)
}

// eventsOf is Events, of the namespace of an interface.
func eventsOf(i Interface) (*os.File, error) {
	if e, ok := i.(Elsewhere); ok {
		if f, err := e.Events(); f != nil || err != nil {
			return f, err
		}
	}
	return Events()
}

// Events is a netlink socket that tells of changes of interfaces.
func Events() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind a netlink socket: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}
