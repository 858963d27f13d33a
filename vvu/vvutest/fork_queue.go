package vvutest

import (
	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

const (
	rxq = 0 // to the driver
	txq = 1 // from the driver

	forkQueueSize = 128

	// The largest message either way (contract 3.1).
	forkMessage = 644
)

// forkQueue is a message queue.
type forkQueue struct {
	size             uint16
	vector           uint16
	desc, avail, use uint64
	ring             *vring.Device // nil until it is enabled
	notified         int           // how often the driver notified it
}

// queue is the selected one, nil if there is none. mu is held.
func (f *Fork) queue() *forkQueue {
	if int(f.queueSelect) >= len(f.queues) {
		return nil
	}
	return &f.queues[f.queueSelect]
}

func (f *Fork) storeQueue(q *forkQueue, a mmiotest.Access) {
	if q.ring != nil && a.Offset != commonQueueVector {
		f.t.Errorf("fork: %v: the queue is enabled", a)
		return
	}
	half := func(field *uint64, high bool) {
		if high {
			*field = *field&0xffffffff | a.Value<<32
		} else {
			*field = *field&^0xffffffff | a.Value
		}
	}
	switch a.Offset {
	case commonQueueSize:
		q.size = uint16(a.Value)
	case commonQueueVector:
		q.vector = f.useVector(q.vector, uint16(a.Value))
	case commonQueueDesc, commonQueueDesc + 4:
		half(&q.desc, a.Offset == commonQueueDesc+4)
	case commonQueueAvail, commonQueueAvail + 4:
		half(&q.avail, a.Offset == commonQueueAvail+4)
	case commonQueueUsed, commonQueueUsed + 4:
		half(&q.use, a.Offset == commonQueueUsed+4)
	case commonQueueEnable:
		f.enable(q)
	default:
		f.t.Errorf("fork: %v: the register is read-only", a)
	}
}

func (f *Fork) enable(q *forkQueue) {
	table, err := mem.New(f.driverRAM)
	if err == nil {
		q.ring, err = vring.NewDevice(vring.DeviceConfig{
			Size: int(q.size), Mem: table, Desc: mem.GPA(q.desc), Avail: mem.GPA(q.avail), Used: mem.GPA(q.use),
			EventIdx: f.accepted.Has(virtio.EventIdx), Indirect: f.accepted.Has(virtio.IndirectDesc),
		})
	}
	if err != nil {
		f.t.Errorf("fork: enabling a queue: %v", err)
	}
}

// notify is a queue notification; mu is held.
func (f *Fork) notify(queue int, value uint64) {
	if queue >= len(f.queues) || value != uint64(queue) {
		f.t.Errorf("fork: notification of queue %d with %d", queue, value)
		return
	}
	f.queues[queue].notified++
	f.cond.Broadcast()
	if queue == txq {
		f.sendReplies()
	} else {
		f.deliverFlood()
	}
}

// usable returns a queue's ring if the device works on it; mu is held.
func (f *Fork) usable(queue int) *vring.Device {
	if f.broken() || f.status&virtio.StatusDriverOK == 0 {
		return nil
	}
	return f.queues[queue].ring
}

// deliver puts a message on rxq, or returns false if there is no buffer. mu is
// held.
func (f *Fork) deliver(m vhostuser.Message) bool {
	q := f.usable(rxq)
	if q == nil || q.Available() == 0 {
		return false
	}
	var c vring.Chain
	q.ResetViews()
	if !q.Pop(&c) {
		f.t.Errorf("fork: rxq: %v", q.Err())
		return false
	}
	wire := m.Append(nil)
	if int(c.WriteLen) < len(wire) {
		f.needsReset()
		return true
	}
	for _, view := range c.Write {
		wire = wire[copy(view, wire):]
	}
	f.complete(rxq, q, c.Head, uint32(len(m.Payload)+vhostuser.HeaderSize))
	return true
}

func (f *Fork) complete(queue int, q *vring.Device, head uint16, n uint32) {
	q.Push(head, n)
	q.Publish()
	if q.NeedSignal() {
		f.isr |= 1
		f.interrupt(f.queues[queue].vector)
	}
}

// sendReplies passes what is in txq to the front-end. The buffer is given back
// before the message is sent. mu is held.
func (f *Fork) sendReplies() {
	for !f.holdReplies {
		q := f.usable(txq)
		if q == nil || q.Available() == 0 {
			return
		}
		var c vring.Chain
		q.ResetViews()
		if !q.Pop(&c) {
			f.t.Errorf("fork: txq: %v", q.Err())
			return
		}
		var wire []byte
		for _, view := range c.Read {
			wire = append(wire, view...)
		}
		m, err := vhostuser.Parse(wire)
		if err != nil || len(wire) > forkMessage {
			f.t.Errorf("fork: message of %d bytes in txq: %v", len(wire), err)
			f.needsReset()
			return
		}
		f.complete(txq, q, c.Head, uint32(len(wire))) // what was read, against the specification
		f.reply(m)
	}
}

// reply passes one well-formed message on; mu is held.
func (f *Fork) reply(m vhostuser.Message) {
	if m.Flags != vhostuser.ReplyFlags || !forkPasses(m.Request) {
		f.t.Errorf("fork: %v with flags %#x from the driver: the device would drop the session, or abort without one", m, m.Flags)
		return
	}
	if !f.connected() {
		f.lostReplies++
		return
	}
	if m.Request == vhostuser.GetProtocolFeatures {
		maskProtocol(&m)
	}
	if err := f.frontend.WriteMessage(m); err != nil {
		f.drop(true)
	}
}
