package vvu

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/vfio/await"
	"vvufwd/vfio/pci"
	"vvufwd/virtio/net/guest"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
)

// Endpoint serves one front-end after the other. Run is its goroutine; Ports are
// what it offers to a forwarder.
type Endpoint struct {
	device  *Device
	carrier *carrier
	rings   int // that every device has to serve
	session *session.Session
	log     *zap.Logger
	guests  []*guest.Port

	wake      int         // eventfd that interrupts a wait
	down      atomic.Bool // SetLink
	shown     bool        // what the device knows of down
	connected bool
	bounces   backoff
	restarts  backoff

	patience await.Patience // until the status is looked at without an interrupt
}

// offeredProtocol are the protocol features that we can serve besides several queue
// pairs. The device lets through what it can carry: QEMU's own takes away all of these.
const offeredProtocol = vhostuser.ProtoReplyAck | vhostuser.ProtoStatus | vhostuser.ProtoResetDevice | vhostuser.ProtoMTU | vhostuser.ProtoRARP

// pollStatus and pollStatusMost are after which time the status is looked at without an interrupt: one that
// comes right after start is lost with some devices.
const (
	pollStatus     = 500 * time.Millisecond
	pollStatusMost = 4 * time.Second
)

// drainReplies bounds the wait for the device to consume replies of an ended
// session before the next may begin.
const drainReplies = time.Second

// NewEndpoint prepares an endpoint on a device that Open has started. A
// forwarder must serve its Ports before Run starts, or Run waits for it.
func NewEndpoint(device *Device, log *zap.Logger) (*Endpoint, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	e := &Endpoint{device: device, carrier: &carrier{device}, rings: int(device.rings()), log: log, wake: wake, guests: session.NewGuests("vvu:"+device.name, device.Pairs(), log)}
	e.patience = await.Patience{First: pollStatus, Most: pollStatusMost}
	e.session = session.New(e.carrier, vhostuser.BackendConfig{Protocol: offeredProtocol, Rings: int(device.rings())}, e.guests, log)
	return e, nil
}

// Ports are the endpoint's queue pairs as a forwarder sees them: as many as the device
// can serve. They stay the same for the endpoint's life, however many of them a
// front-end uses.
func (e *Endpoint) Ports() []*guest.Port { return e.guests }

// SetAddress says which address guests have, for certain; see session.Session. Call it
// before Run.
func (e *Endpoint) SetAddress(mac [6]byte) error { return e.session.SetAddress(mac) }

// Run serves front-ends until ctx is done. A device that breaks is restarted,
// again and again if need be, more and more slowly. One that is gone, be it that the
// program has ended that provides it, cannot be: then Run gives up and returns an error
// that wraps virtiopci.ErrAbsent. In either case the forwarder has no rings any more.
func (e *Endpoint) Run(ctx context.Context) error {
	debug.SetPanicOnFault(true) // ring memory can vanish under our hands too
	stop := context.AfterFunc(ctx, e.interrupt)
	defer stop()
	e.showLink()
	e.device.setUp(true)
	e.log.Info("ready for a front-end", zap.Int("pairs", len(e.guests)))
	err := e.serveAll(ctx)
	if failed := e.session.Reset(); failed != nil {
		e.log.Warn("unmap guest memory", zap.Error(failed))
	}
	e.connected = false
	return err
}

// serveAll has one turn after the other. It returns early if the device is gone.
func (e *Endpoint) serveAll(ctx context.Context) error {
	for ctx.Err() == nil {
		err := e.turn(ctx)
		switch {
		case err == nil:
			continue
		case e.device.absent():
			return e.device.errAbsent()
		case errors.Is(err, errBroken):
			if err := e.restart(ctx, err); err != nil {
				return err
			}
		default:
			// What the front-end did wrong costs it the session. vvudev closes its
			// socket then; QEMU's device leaves it open, and it may go on. The next
			// turn takes what is left of the session out of the queue, unanswered, and
			// comes up again.
			e.log.Error("ending the session", zap.Error(err))
			_ = e.flush() // the next turn waits again, and restarts a device that takes nothing
			e.device.setUp(false)
		}
	}
	return nil
}

// interrupt ends a wait.
func (e *Endpoint) interrupt() {
	one := [8]byte{1}
	unix.Write(e.wake, one[:])
}

// SetLink takes the guest's link down, or up again, as soon as Run gets to it; it is up
// to begin with. Down ends the session, and front-ends are refused; QEMU shows its
// guest a link that is down until it may connect again, which it tries with the option
// reconnect-ms of its chardev. Of the known devices vvudev's can do that. QEMU's own lets
// no front-end notice, so there nothing is done. Safe for concurrent use.
func (e *Endpoint) SetLink(up bool) {
	e.down.Store(!up)
	e.interrupt()
}

// showLink lets the device know of SetLink.
func (e *Endpoint) showLink() {
	down := e.down.Load()
	if down == e.shown {
		return
	}
	e.shown = down
	if !e.device.setLink(!down) {
		e.log.Warn("the device cannot tell the front-end that the link changed (vvudev can)", zap.Bool("up", !down))
		return
	}
	e.log.Info("link of the guest changed", zap.Bool("up", !down))
}

// restart takes a broken device through a reset, as often as it takes. It returns an
// error if the device is gone.
func (e *Endpoint) restart(ctx context.Context, reason error) error {
	e.connected = false
	if err := e.session.Reset(); err != nil {
		e.log.Warn("unmap guest memory", zap.Error(err))
	}
	for ctx.Err() == nil {
		e.log.Error("restarting the device", zap.Error(reason))
		if e.restarts.wait(ctx); ctx.Err() != nil {
			break
		}
		if reason = e.device.start(); reason == nil {
			e.shown = false // a reset takes the link up
			e.showLink()
			e.device.setUp(true)
			break
		}
		if e.device.absent() {
			return e.device.errAbsent()
		}
	}
	return nil
}

// carrier is the endpoint's device, whichever it has, for its session.
type carrier struct{ *Device }

// Detach stops the device, which the machine takes away. Run must have returned. Its ports
// stay, without rings.
func (e *Endpoint) Detach() error {
	if e.device == nil {
		return nil
	}
	err := e.device.Close()
	e.device = nil
	return err
}

// Attach gives the endpoint another device in place of the one that it was detached from,
// one that Open has started and that serves as many queue pairs. Run can be called again
// then.
func (e *Endpoint) Attach(device *Device) error {
	if device.Pairs() != len(e.guests) || int(device.rings()) != e.rings {
		return &pci.DeviceError{Device: device.name,
			Problem: fmt.Sprintf("serves %d vrings, and served %d when vvufwd started", device.rings(), e.rings),
			Remedy:  "start the device as it was, or restart vvufwd"}
	}
	e.device, e.carrier.Device, e.shown = device, device, false // the link of a device is up
	return nil
}

// Close resets the device, if there is one, after Run has returned.
func (e *Endpoint) Close() error {
	return errors.Join(e.Detach(), unix.Close(e.wake))
}

// turn waits for something to happen and deals with it: messages first, in their
// order, then the connection status. Faults of vanished memory become errors.
func (e *Endpoint) turn(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = session.Vanished(r)
		}
	}()
	e.showLink()
	status := e.device.status()
	changed := status == 0 || (status&statusFrontendUp != 0) != e.connected
	if !changed && !e.device.messages.waiting() {
		e.wait(ctx)
		if ctx.Err() != nil {
			return nil
		}
		status = e.device.status()
	}
	switch {
	case status == allOnes && e.device.absent():
		return e.device.errAbsent()
	case e.device.needsReset():
		return fmt.Errorf("%w: it asks for a reset", errBroken)
	}
	if up := status&statusFrontendUp != 0; up && !e.connected {
		e.connected = true
		e.log.Info("front-end connected")
	}
	if err := e.serve(status&statusDriverUp != 0); err != nil {
		return err
	}
	if status&statusDriverUp == 0 {
		return e.bounce(ctx)
	}
	return nil
}

// serve handles the messages that wait: at most a queue of them, so that a
// front-end that sends without end keeps no one from ending Run. After the end of
// a session these are all, because a device that is down delivers nothing; then
// no one waits for replies any more: the next front-end would get them. The error
// of a message that ends the session is returned when those after it have got
// their answers, for a front-end whose socket stays open waits for them.
func (e *Endpoint) serve(answer bool) error {
	var over error
	for range messageQueue {
		m, ok, err := e.device.messages.receive()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		reply, failed := e.session.Handle(m)
		if reply != nil && answer {
			if err := e.device.messages.send(*reply); err != nil {
				return err
			}
		}
		if over == nil {
			over = failed
		}
	}
	return over
}

// bounce takes note that the device has dropped the session and makes it ready
// for the next one, or for the rest of this one: QEMU's device also drops on a
// message that it does not know, and then the same front-end goes on.
func (e *Endpoint) bounce(ctx context.Context) error {
	ended := errors.Join(e.session.Bounce(), e.flush())
	if e.connected {
		e.connected = false
		// Whoever reads it may empty the guest's memory from now on: no ring is looked at any more.
		e.log.Info("front-end disconnected")
	}
	if ended != nil {
		return ended
	}
	if err := e.device.setKickVectors(); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	e.bounces.wait(ctx)
	if ctx.Err() == nil {
		e.device.setUp(true)
	}
	return nil
}

// flush waits until the device has taken every reply.
func (e *Endpoint) flush() error {
	for deadline := time.Now().Add(drainReplies); !e.device.messages.idle(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: it does not consume replies", errBroken)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// wait sleeps until the device interrupts, the context ends, or it is time to
// look at the status anyway.
func (e *Endpoint) wait(ctx context.Context) {
	fds := []int{e.wake, e.device.pci.Vector(vectorConfig), e.device.pci.Vector(vectorRx), e.device.pci.Vector(vectorTx)}
	if !e.patience.Readable(ctx, fds...) {
		return
	}
	var buf [8]byte
	for _, fd := range fds {
		unix.Read(fd, buf[:]) // empty is fine: it is non-blocking
	}
}
