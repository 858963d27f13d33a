package peerfd

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Door lets the peers at a listener in, one at a time. One that comes while another is
// served waits at the door for a while, for the other may be about to leave: a monitor
// that was killed and starts again is sometimes faster than word of its end. Then it is
// refused, and at once if too many wait already. A peer whose connection no one
// accepts would hang, and no one could say why.
type Door struct {
	Listener *net.UnixListener // the door's from Open on
	Bin      *Bin
	// Patience is how long a peer waits, and Room how many do.
	Patience time.Duration
	Room     int
	// Said is told what happens to peers that come while another is served, and of errors that
	// pass, on the door's goroutine. It must not wait.
	Said func(event DoorEvent, err error)

	came   chan *net.UnixConn
	failed chan error
	mu     sync.Mutex
	busy   bool // a peer is served
	queued int  // others wait
}

// DoorEvent is what a Door tells of.
type DoorEvent int

const (
	PeerWaits    DoorEvent = iota // for another to leave
	PeerRefused                   // because another has not left
	AcceptFailed                  // and is tried again
)

// acceptRetry is how long to wait when the process is short of descriptors or memory.
const acceptRetry = 100 * time.Millisecond

// Open begins to accept peers, until ctx ends, and closes the listener then.
func (d *Door) Open(ctx context.Context) {
	d.came, d.failed = make(chan *net.UnixConn), make(chan error, 1)
	context.AfterFunc(ctx, func() { d.Bin.Close(d.Listener) })
	go d.accept(ctx)
}

// Serve opens the door and has one peer after the other served, until ctx ends (nil) or
// the listener fails.
func (d *Door) Serve(ctx context.Context, serve func(*net.UnixConn)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.Open(ctx)
	for {
		conn, err := d.Next(ctx)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				d.Bin.Close(conn)
			}
			return nil
		case err != nil:
			return err
		}
		serve(conn)
	}
}

// Next waits for the next peer; the one before is no longer served. The error is that of
// the listener, or ctx's.
func (d *Door) Next(ctx context.Context) (*net.UnixConn, error) {
	d.mu.Lock()
	d.busy = false
	d.mu.Unlock()
	for d.Bin.Full() && ctx.Err() == nil { // of what the one before has sent
		time.Sleep(acceptRetry)
	}
	select {
	case conn := <-d.came:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.busy = true
		d.queued--
		return conn, nil
	case err := <-d.failed:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *Door) accept(ctx context.Context) {
	for said := false; ; {
		conn, err := d.Listener.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				d.Bin.Close(conn)
			}
			return
		case err == nil:
			said = false
			d.admit(ctx, conn)
		case errors.Is(err, net.ErrClosed):
			d.failed <- net.ErrClosed // without the listener's address, which the caller knows
			return
		default: // a want of descriptors or of memory (EMFILE, ENOMEM, ENOBUFS), which passes
			if !said { // else ten times a second, for as long as it takes
				d.Said(AcceptFailed, err)
			}
			said = true
			time.Sleep(acceptRetry)
		}
	}
}

// admit has a peer wait for its turn, or refuses it.
func (d *Door) admit(ctx context.Context, conn *net.UnixConn) {
	d.mu.Lock()
	busy, full := d.busy, d.queued >= d.Room
	if !full {
		d.queued++
	}
	d.mu.Unlock()
	if full {
		d.refuse(conn)
		return
	}
	if busy {
		d.Said(PeerWaits, nil)
	}
	go func() {
		patience := time.NewTimer(d.Patience)
		defer patience.Stop()
		for {
			select {
			case d.came <- conn: // Next notes it
				return
			case <-ctx.Done():
				d.Bin.Close(conn)
				return
			case <-patience.C:
				if d.leaveQueue() {
					d.refuse(conn)
					return
				}
				patience.Reset(d.Patience) // its turn comes as soon as someone asks
			}
		}
	}()
}

// leaveQueue makes room for the next to wait, if a peer is served, and reports whether.
func (d *Door) leaveQueue() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy {
		d.queued--
	}
	return d.busy
}

func (d *Door) refuse(conn *net.UnixConn) {
	d.Bin.Close(conn)
	d.Said(PeerRefused, nil)
}
