package xdp

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// Queue is a queue pair: a netdev.Queue whose socket control can replace, see netfwd.Replaceable.
type Queue struct {
	name      string
	condition *netdev.Condition
	counters  virtionet.Counters

	*socket // the forwarder's
	wake    netdev.Waker
	forRoom bool // who sleeps waits for room

	next    atomic.Pointer[socket] // what to use instead
	retired atomic.Pointer[socket] // what was used before, for control to close: the last one, with those before it
}

func newQueue(name string, c *netdev.Condition, s *socket) (q *Queue, err error) {
	q = &Queue{name: name, condition: c, socket: s}
	if q.wake, err = netdev.NewWaker(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return q, nil
}

// replace gives the queue pair another socket, which is its own from then on. Control calls it.
func (q *Queue) replace(with *socket) error {
	err := q.collect()
	if unused := q.next.Swap(with); unused != nil {
		err = errors.Join(err, unused.close())
	}
	q.condition.Wake()
	return err
}

// collect closes sockets that the forwarder does not use any more.
func (q *Queue) collect() (err error) {
	for s := q.retired.Swap(nil); s != nil; s = s.before {
		err = errors.Join(err, s.close())
	}
	return err
}

// Close closes its sockets.
func (q *Queue) Close() error {
	err := errors.Join(q.collect(), q.socket.close(), q.wake.Close())
	if s := q.next.Swap(nil); s != nil {
		err = errors.Join(err, s.close())
	}
	return err
}

// Name identifies the port in logs and counters. Safe for concurrent use.
func (q *Queue) Name() string { return q.name }

// Counters are the port's counters.
func (q *Queue) Counters() *virtionet.Counters { return &q.counters }

// Changed reports whether another socket waits.
func (q *Queue) Changed() bool { return q.next.Load() != nil }

// Sync takes over another socket. What the last one had received and not released is lost with it;
// what is to be sent waits for the next one.
func (q *Queue) Sync() (gone bool) {
	with := q.next.Swap(nil)
	if with == nil {
		return false
	}
	q.counters.Drops[virtionet.DropStopped] += uint64(q.held)
	q.wake.Rest()
	for old := q.socket; ; {
		if old.before = q.retired.Load(); q.retired.CompareAndSwap(old.before, old) {
			break
		}
	}
	q.socket = with
	return false
}

// Leave has no one waiting for it.
func (q *Queue) Leave() {}

// Receive describes what has arrived. See netfwd.Port.
func (q *Queue) Receive(b *virtionet.Burst) (worked bool) {
	if q.unsent {
		q.push()
	}
	if q.condition.Down() {
		b.Reset()
		return false
	}
	worked = q.describe(b, &q.counters)
	q.held = b.Len()
	if !worked && q.fill.wantsWakeup() {
		q.askForFrames()
	}
	return worked
}

// Release gives the chunks of frames back to the kernel. See netfwd.Port.
func (q *Queue) Release(b *virtionet.Burst, first, end int) {
	q.release(b, first, end)
	q.held -= end - first
	q.counters.CountReceived(b, first, end)
	if q.fill.wantsWakeup() {
		q.askForFrames()
	}
}

// Transmit copies frames into chunks and hands them to the kernel. See netfwd.Port.
func (q *Queue) Transmit(b *virtionet.Burst, first, end int) (done int) {
	if q.condition.Down() {
		q.counters.Drops[virtionet.DropLinkDown] += uint64(end - first)
		return end - first
	}
	most := q.condition.MaxFrame()
	if b.Plain() {
		n, other := q.place(b, first, end, most)
		if n > 0 {
			b.Copy(first, first+n)
			q.send(b, first, first+n)
			q.counters.CountSent(b, first, first+n)
		}
		if n > 0 || !other {
			return n
		}
	}
	q.reclaim()
	frames := b.Frames(first, b.ToCut(first, end))
	for done < len(frames) && q.put(&frames[done], most, &q.counters) {
		done++
	}
	return done
}

// Notify has the kernel send what was published since the last time.
func (q *Queue) Notify() {
	if q.unsent {
		q.push()
	}
}

// Recover finds everything in order: frames that were not released come again, and what was not
// published was not sent.
func (q *Queue) Recover() { q.held = 0 }

// mostPushes bounds how often the kernel is called at once. One call sends 32 frames.
const mostPushes = 2 * txChunks / 32

// push has the kernel send what it has been given. What it has no room for now is tried again
// with the next round.
func (q *Queue) push() {
	for range mostPushes {
		if !q.tx.wantsWakeup() {
			q.unsent = false // it goes on by itself
			return
		}
		before := q.tx.pending()
		q.counters.Interrupts++
		switch errno := q.kernel.wakeSend(q.fd); errno {
		case 0:
			q.unsent = false
			return
		case unix.EAGAIN, unix.EBUSY, unix.EINTR, unix.ENOBUFS, unix.ENOMEM:
			after := q.tx.pending()
			if after == before {
				return
			}
			if errno == unix.EBUSY && !q.zeroCopy {
				q.counters.Drops[virtionet.DropNoRoom]++ // the last one, by the driver
			}
		default:
			q.unsent = false
			q.failed(errno)
			return
		}
	}
}

// askForFrames has the kernel look at the fill ring.
func (q *Queue) askForFrames() {
	q.counters.Interrupts++
	if errno := q.kernel.wakeReceive(q.fd); errno != 0 {
		q.failed(errno)
	}
}

// failed takes note of an error that is not about a frame.
func (q *Queue) failed(errno unix.Errno) {
	switch errno {
	case unix.ENETDOWN, unix.ENXIO, unix.ENODEV, unix.EBADF, unix.EIO:
		q.condition.Fail()
	}
}

// EnableKicks has the descriptor of WakeFDs readable while there are frames. For room there is no
// kick, see LongestSleep.
func (q *Queue) EnableKicks(forRoom bool) (frames, room bool) {
	if q.unsent {
		q.push()
	}
	q.forRoom = forRoom
	if forRoom {
		q.reclaim()
		room = q.rooms() > 0 || q.condition.Down() // what waits is dropped then
	}
	watched := q.wake.Watch(q.fd, -1, unix.EPOLLIN) // before the look, so that no frame comes between
	if q.condition.Down() {
		return false, room // whoever sets it up again wakes us
	}
	return q.rx.ready() > 0 || !watched, room
}

// DisableKicks has the kernel wake no one.
func (q *Queue) DisableKicks() { q.wake.Rest() }

// WakeFDs is an epoll instance, which no one has to empty, see netfwd.Sleeper. There is none
// while the interface does not work: a socket is readable for ever then.
func (q *Queue) WakeFDs() []int {
	if q.condition.Down() {
		return nil
	}
	return q.wake.FDs()
}

// shortly is how long to sleep at most before one looks for what no one tells of: the kernel does
// not say when it has sent a frame, nor when it can take more after it could not.
const shortly = 50 * time.Microsecond

// LongestSleep is netfwd.Restless's.
func (q *Queue) LongestSleep() time.Duration {
	if (q.unsent || q.forRoom) && !q.condition.Down() {
		return shortly
	}
	return -1
}
