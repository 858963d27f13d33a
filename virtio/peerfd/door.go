package peerfd

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// Door lets the peers at a listener in, one at a time. One that comes while another is
// served waits at the door for a while, for the other may be about to leave: a monitor
// that was killed and starts again is sometimes faster than word of its end. Then it is
// refused, and at once if too many wait already that are still there. A peer whose
// connection no one accepts would hang, and no one could say why.
type Door struct {
	Listener *net.UnixListener // the door's from Open on
	Bin      *Bin              // of who serves peers, for what they send
	// Patience is how long a peer waits, and Room how many do. Those that have hung up make room when it is
	// needed; else they keep their turn, for what they said before.
	Patience time.Duration
	Room     int
	// Said is told what happens to peers that come while another is served, and of errors that
	// pass, on the door's goroutines. It must not wait.
	Said func(event DoorEvent, err error)

	news   chan struct{} // there is one in the queue
	failed chan error
	mu     sync.Mutex
	busy   bool      // a peer is served
	queue  []*waiter // others, in the order in which they came
	closed bool

	away Bin // for those who are not served: what they have sent is not the served one's doing
}

// waiter is a peer that waits for its turn.
type waiter struct {
	conn     *net.UnixConn
	patience *time.Timer
}

// DoorEvent is what a Door tells of.
type DoorEvent int

const (
	PeerWaits    DoorEvent = iota // for another to leave
	PeerRefused                   // because another has not left
	AcceptFailed                  // and is tried again
	DoorStuck                     // what refused peers have sent takes long to close, and no one is let in until it is
)

// acceptRetry is how long to wait when the process is short of descriptors or memory.
const acceptRetry = 100 * time.Millisecond

// binRetry is how long to wait when a Bin is full, of files that take no time to close for the most part.
const binRetry = 10 * time.Millisecond

// Open begins to accept peers, until ctx ends, and closes the listener then.
func (d *Door) Open(ctx context.Context) {
	d.news, d.failed = make(chan struct{}, 1), make(chan error, 1)
	context.AfterFunc(ctx, d.close)
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
				d.away.Close(conn)
			}
			return nil
		case err != nil:
			return err
		}
		serve(conn)
	}
}

// Next waits for the next peer, in the order in which they came; the one before is no longer served. The error is that of
// the listener, or ctx's.
func (d *Door) Next(ctx context.Context) (*net.UnixConn, error) {
	for d.Bin.Full() && ctx.Err() == nil { // the one before is not gone for as long as there is so much of it
		time.Sleep(binRetry)
	}
	d.mu.Lock()
	d.busy = false
	d.mu.Unlock()
	for {
		if conn := d.first(); conn != nil {
			return conn, nil
		}
		select {
		case <-d.news:
		case err := <-d.failed:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// first takes the one who has waited longest, or returns nil.
func (d *Door) first() *net.UnixConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return nil
	}
	next := d.queue[0]
	d.queue, d.busy = d.queue[1:], true
	next.patience.Stop()
	return next.conn
}

// close sends all away who wait, and lets no one in any more.
func (d *Door) close() {
	d.away.Close(d.Listener)
	d.mu.Lock()
	queue := d.queue
	d.queue, d.closed = nil, true
	d.mu.Unlock()
	for _, w := range queue {
		w.patience.Stop()
		d.away.Close(w.conn)
	}
}

func (d *Door) accept(ctx context.Context) {
	for said := false; ; {
		d.awaitAway(ctx)
		conn, err := d.Listener.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				d.away.Close(conn)
			}
			return
		case err == nil:
			said = false
			d.admit(conn)
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

// awaitAway waits while too much is being closed: else it would be peers who say how many descriptors the process
// has open.
func (d *Door) awaitAway(ctx context.Context) {
	for since, said := time.Now(), false; d.away.Full() && ctx.Err() == nil; time.Sleep(binRetry) {
		if !said && time.Since(since) > patience {
			said = true
			d.Said(DoorStuck, nil)
		}
	}
}

// admit has a peer wait for its turn, or refuses it.
func (d *Door) admit(conn *net.UnixConn) {
	d.mu.Lock()
	if len(d.queue) >= d.Room {
		d.queue = slices.DeleteFunc(d.queue, d.hasLeft)
	}
	busy, full, closed := d.busy, len(d.queue) >= d.Room, d.closed
	if !full && !closed {
		w := &waiter{conn: conn}
		w.patience = time.AfterFunc(d.Patience, func() { d.lose(w) })
		d.queue = append(d.queue, w)
	}
	d.mu.Unlock()
	switch {
	case closed:
		d.away.Close(conn)
	case full:
		d.refuse(conn)
	default:
		select {
		case d.news <- struct{}{}:
		default: // there is word already
		}
		if busy {
			d.Said(PeerWaits, nil)
		}
	}
}

// lose refuses one that has waited for long, if another is served. Otherwise its turn comes as soon as
// someone asks.
func (d *Door) lose(w *waiter) {
	d.mu.Lock()
	i := slices.Index(d.queue, w) // -1: its turn has come just now, or it has left
	lost := i >= 0 && d.busy
	if lost {
		d.queue = slices.Delete(d.queue, i, i+1)
	} else if i >= 0 {
		w.patience.Reset(d.Patience)
	}
	d.mu.Unlock()
	if lost && !d.hasLeft(w) {
		d.refuse(w.conn)
	}
}

// hasLeft reports whether a peer has hung up while it waited, and sees it off then.
func (d *Door) hasLeft(w *waiter) bool {
	gone := false
	raw, err := w.conn.SyscallConn()
	if err != nil || raw.Control(func(fd uintptr) { gone = HungUp(int(fd)) }) != nil || !gone {
		return false
	}
	w.patience.Stop()
	d.away.Close(w.conn)
	return true
}

func (d *Door) refuse(conn *net.UnixConn) {
	d.away.Close(conn)
	d.Said(PeerRefused, nil)
}
