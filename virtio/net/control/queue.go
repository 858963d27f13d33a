package control

import "vvufwd/virtio/vring"

// Queue is the device's side of a control queue. One goroutine at a time uses it, which
// has debug.SetPanicOnFault set: the guest's memory may vanish.
type Queue struct {
	Ring  *vring.Device
	chain [1]vring.Chain
}

// Acknowledgements (5.1.6.5).
const (
	ackOK  = 0
	ackErr = 1
)

// header is the class and the command, a byte each.
const header = 2

// Serve carries out the commands that wait, at most limit of them. It calls do for each
// that has a class and a command, and acknowledges it with what that returns when it has
// returned: what the command asks for must be so by then. It reports how many buffers it
// gave back, and whether more wait, or may.
//
// Who has a control queue must not wait for an answer in vain, whatever it has sent: a
// command too short to be one is refused, and one without room for an answer is given
// back without. If the ring breaks a rule, Ring.Err tells.
func (q *Queue) Serve(limit int, do func(class, command byte, data *Data) bool) (served int, more bool) {
	for ; served < limit; served++ {
		q.Ring.ResetViews()
		if q.Ring.Available() == 0 || q.Ring.PopBurst(q.chain[:]) == 0 {
			// Before anybody sleeps: what comes from now on brings a kick.
			return served, q.Ring.EnableKicks()
		}
		c := &q.chain[0]
		var head [header]byte
		ack, data := byte(ackErr), newData(c.Read)
		if data.Take(head[:]) && len(c.Write) > 0 && do(head[0], head[1], &data) {
			ack = ackOK
		}
		written := uint32(0)
		if len(c.Write) > 0 { // its first byte: results of a command would follow it
			c.Write[0][0] = ack
			written = 1
		}
		q.Ring.Push(c.Head, written)
		if q.Ring.Logged() {
			q.Ring.LogWritten(q.chain[:])
		}
		q.Ring.Publish()
	}
	return served, true
}
