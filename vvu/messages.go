package vvu

import (
	"errors"
	"fmt"

	"vvufwd/vfio/dma"
	virtiopci "vvufwd/virtio/pci"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

const (
	// messageBuffer holds the largest message of any known device (644 bytes in
	// QEMU's, about 4 KiB in others). A buffer that is too small kills QEMU's
	// device until it is reset.
	messageBuffer = 4096
	// messageQueue is how many messages can be under way each way. A negotiation
	// takes about 20, and the device sends one after the other.
	messageQueue = 32
)

// errBroken reports message queues on which the device broke the rules.
var errBroken = errors.New("device violated the protocol of its message queues")

// messages are the device's two message queues. One buffer holds one message.
// EVENT_IDX is not negotiated: there is too little traffic to save anything.
type messages struct {
	rx, tx messageRing
	saved  []vhostuser.Message // to be received first, see Device.reset
}

// messageRing is one of the queues; its memory outlives resets of the device.
type messageRing struct {
	*vring.Driver
	ring, buffers dma.Memory
	notify        *virtiopci.Notifier
}

// newMessages allocates the memory of both queues.
func newMessages(transport *virtiopci.Transport, alloc Allocator) (*messages, error) {
	m := &messages{}
	for queue, r := range m.rings() {
		size := max(1, min(int(transport.QueueMaxSize(queue)), messageQueue))
		var err error
		if r.ring, err = alloc.Alloc(vring.DriverBytes(size), page); err != nil {
			return nil, err
		}
		if r.buffers, err = alloc.Alloc(size*messageBuffer, page); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *messages) rings() map[uint16]*messageRing {
	return map[uint16]*messageRing{queueRx: &m.rx, queueTx: &m.tx}
}

// setUp lays the queues out afresh and makes them known to the device, which has
// just been reset.
func (m *messages) setUp(transport *virtiopci.Transport) error {
	vectors := map[uint16]uint16{queueRx: vectorRx, queueTx: vectorTx}
	for queue, r := range m.rings() {
		clear(r.ring.Bytes)
		size := len(r.buffers.Bytes) / messageBuffer
		var err error
		r.Driver, err = vring.NewDriver(vring.DriverConfig{Size: size, Memory: r.ring.Bytes, Base: uint64(r.ring.IOVA)})
		if err != nil {
			return fmt.Errorf("message queue %d: %w", queue, err)
		}
		desc, avail, used := r.Addresses()
		r.notify, err = transport.SetupQueue(queue, virtiopci.QueueConfig{
			Size: uint16(size), Vector: vectors[queue],
			Desc: dma.IOVA(desc), Avail: dma.IOVA(avail), Used: dma.IOVA(used),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// buffer is the message buffer that belongs to a descriptor.
func (r *messageRing) buffer(head uint16) dma.Memory {
	return r.buffers.Slice(int(head)*messageBuffer, messageBuffer)
}

// start posts all receive buffers.
func (m *messages) start() {
	for range m.rx.Size() {
		m.post()
	}
	m.rx.Publish()
	m.rx.notify.Notify()
}

// post offers the receive buffer of the next free descriptor. A message is
// copied before its descriptor is used again, so the two go together.
func (m *messages) post() {
	buffer := m.rx.buffer(m.rx.NextHead())
	// One buffer per descriptor: the ring has room, or a fault that Take reports.
	_, _ = m.rx.Add(nil, []vring.Part{{Addr: uint64(buffer.IOVA), Len: messageBuffer}})
}

// receive returns the next message, or false when there is none. The payload is
// a copy. An error means that the device is broken (a message that is none is
// the device's fault: it checks what front-ends send).
func (m *messages) receive() (vhostuser.Message, bool, error) {
	if len(m.saved) > 0 {
		msg := m.saved[0]
		m.saved = m.saved[1:]
		return msg, true, nil
	}
	m.rx.Completed()
	var u vring.Used
	if !m.rx.Take(&u) {
		if err := m.rx.Err(); err != nil {
			return vhostuser.Message{}, false, fmt.Errorf("%w: receive queue: %w", errBroken, err)
		}
		return vhostuser.Message{}, false, nil
	}
	raw := append([]byte(nil), m.rx.buffer(u.Head).Bytes[:u.Len]...)
	m.post()
	m.rx.Publish()
	m.rx.notify.Notify() // always: the device may hold a message back for want of a buffer
	msg, err := vhostuser.Parse(raw)
	if err != nil {
		return vhostuser.Message{}, false, fmt.Errorf("%w: %w", errBroken, err)
	}
	return msg, true, nil
}

// send queues a message for the front-end.
func (m *messages) send(msg vhostuser.Message) error {
	m.reclaim()
	if m.tx.Free() == 0 {
		return fmt.Errorf("%w: %d replies are queued and the device sends none", errBroken, m.tx.Size())
	}
	buffer := m.tx.buffer(m.tx.NextHead())
	raw := msg.Append(buffer.Bytes[:0])
	if len(raw) > messageBuffer {
		return fmt.Errorf("reply to %v has %d bytes, more than %d", msg.Request, len(raw), messageBuffer)
	}
	if _, err := m.tx.Add([]vring.Part{{Addr: uint64(buffer.IOVA), Len: uint32(len(raw))}}, nil); err != nil {
		return fmt.Errorf("%w: transmit queue: %w", errBroken, err)
	}
	m.tx.Publish()
	m.tx.notify.Notify()
	return nil
}

// reclaim takes back buffers of messages that were sent.
func (m *messages) reclaim() {
	var u vring.Used
	m.tx.Completed()
	for m.tx.Take(&u) {
	}
}

// idle reports whether the device has consumed every reply.
func (m *messages) idle() bool {
	m.reclaim()
	return m.tx.Outstanding() == 0
}

// waiting reports whether a message can be received.
func (m *messages) waiting() bool { return len(m.saved) > 0 || m.rx.Completed() > 0 }

// drain takes all messages out of the receive queue that the device has put there, without
// offering buffers for more. It is for a device that is about to be reset, or was. Before
// setUp there are none.
func (m *messages) drain() (all []vhostuser.Message) {
	if m == nil || m.rx.Driver == nil {
		return nil
	}
	m.rx.Completed()
	for u := (vring.Used{}); m.rx.Take(&u); {
		raw := append([]byte(nil), m.rx.buffer(u.Head).Bytes[:u.Len]...)
		if msg, err := vhostuser.Parse(raw); err == nil {
			all = append(all, msg)
		}
	}
	return all
}
