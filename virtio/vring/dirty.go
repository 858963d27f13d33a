package vring

import "vvufwd/virtio/mem"

// Logging is where a ring's writes to guest memory are marked while its guest migrates
// (vhost-user, "Migration"). It is never changed.
type Logging struct {
	Memory *mem.DirtyLog // of buffers, and of all that is not the used ring
	Desc   mem.GPA       // of the descriptors, to which the device side of a packed ring writes
	// Used is where the first byte of the used ring, or of a packed ring's device event
	// area, is marked (log_guest_addr).
	Used mem.GPA
}

// NewLogging is the logging of a ring of size entries whose descriptors lie at desc and
// whose used ring is marked at used, or false if that lies beyond the log.
func NewLogging(log *mem.DirtyLog, desc, used mem.GPA, size int, packed bool) (*Logging, bool) {
	_, _, n := Areas(size, packed)
	return &Logging{Memory: log, Desc: desc, Used: used}, log.Covers(used, uint64(n))
}

// SetLogging makes the ring mark what it writes from now on; nil ends that.
func (q *Device) SetLogging(l *Logging) { q.logging = l }

// Logged reports whether writes have to be marked: by the ring its own, and with
// LogWritten those to buffers.
func (q *Device) Logged() bool { return q.logging != nil }

// LogWritten marks what was written into chains, those that were pushed last and are not
// published yet, in that order. Only if Logged.
func (q *Device) LogWritten(chains []Chain) {
	for i, c := range q.pushed[len(q.pushed)-len(chains):] {
		left := int(c.written)
		for _, v := range chains[i].Write {
			n := min(left, len(v))
			q.logging.Memory.MarkView(v[:n])
			if left -= n; left == 0 {
				break
			}
		}
	}
}

// LogViews marks what was popped since ResetViews, for a burst that was broken off: no
// one knows how much of it was written, other than that no buffer got more than most
// bytes. Buffers may be a million times as long. Only if Logged.
func (q *Device) LogViews(most int) {
	for _, v := range q.views {
		q.logging.Memory.MarkView(v[:min(most, len(v))])
	}
}
