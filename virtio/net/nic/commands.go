package virtionic

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/vfio/dma"
	"vvufwd/virtio"
	"vvufwd/virtio/net/driver"
	"vvufwd/virtio/vring"
)

// commands is a NIC's control queue (5.1.6.5). One command is on its way at a time.
// They are rare, so their end is polled for: that saves an interrupt vector and a wait
// for it that could be lost.
type commands struct {
	ring     *vring.Driver
	memory   dma.Memory // the command, and after it the device's answer
	notify   driver.Notifier
	patience time.Duration
}

// A command is a class and a command, one byte each, and what belongs to it; the
// answer is one byte. Each of the three is a buffer of its own, as Linux and DPDK send them: the
// specification lets a driver lay them out as it likes, and cloud-hypervisor finds them in no other way.
const (
	classRX     = 0
	rxPromisc   = 0 // u8
	classMQ     = 4
	mqPairsSet  = 0 // u16
	headSize    = 2
	mostArg     = 2
	commandSize = headSize + mostArg
	commandLen  = 3 // buffers

	answerOK = 0
	noAnswer = 0xee // as we leave it there; neither OK nor ERR
)

// commandPatience is how long a device may take for a command.
const commandPatience = 2 * time.Second

// commandEntries is more than one command takes.
const commandEntries = 4

// setUpCommands makes the control queue, which is queue q.
func (p *Device) setUpCommands(q uint16, alloc Allocator) error {
	size := min(commandEntries, int(p.transport.QueueMaxSize(q)))
	if size < commandLen {
		return fmt.Errorf("%s: control queue of %d entries", p.name, size)
	}
	ring, memory, err := newCommandRing(alloc, p.Features, size)
	if err != nil {
		return fmt.Errorf("%s: control queue: %w", p.name, err)
	}
	notify, err := p.setUpQueue(q, ring, virtio.NoVector)
	if err != nil {
		return err
	}
	ring.DisableInterrupts()
	p.commands = &commands{ring: ring, memory: memory, notify: notify, patience: commandPatience}
	return nil
}

// newCommandRing lays out a control queue, and memory for one command and its answer.
func newCommandRing(alloc Allocator, features virtio.Features, size int) (*vring.Driver, dma.Memory, error) {
	at, err := alloc.Alloc(vring.DriverBytes(size), 4096)
	if err != nil {
		return nil, dma.Memory{}, err
	}
	memory, err := alloc.Alloc(commandSize+1, 64)
	if err != nil {
		return nil, dma.Memory{}, err
	}
	ring, err := vring.NewDriver(vring.DriverConfig{
		Size: size, Memory: at.Bytes, Base: uint64(at.IOVA),
		Packed: features.Has(virtio.RingPacked), EventIdx: features.Has(virtio.EventIdx),
		AnyUsedLen: true, // the answer says enough, and cloud-hypervisor (before 2026) counts what it has read as well
	})
	return ring, memory, err
}

// Spread makes frames arrive at the first pairs queue pairs (5.1.6.5.5); where each
// does the device chooses by its flow. It waits until the device has done so.
func (p *Device) Spread(pairs int) error {
	if p.commands == nil || !p.Features.Has(virtio.NetMQ) {
		return nil
	}
	if err := p.commands.do(classMQ, mqPairsSet, byte(pairs), byte(pairs>>8)); err != nil {
		return fmt.Errorf("%s: use %d queue pairs: %w", p.name, pairs, err)
	}
	return nil
}

// What becomes of a command. A device that refuses one works otherwise.
var (
	ErrRefused    = errors.New("the device refuses")
	errUnanswered = errors.New("the device does not answer")
)

// do carries a command out, with an argument of mostArg bytes or less.
func (c *commands) do(class, command byte, arg ...byte) error {
	var u vring.Used
	if c.ring.Completed() > 0 {
		c.ring.Take(&u) // of a command that no one waits for any more
	}
	if c.ring.Outstanding() > 0 {
		return errUnanswered // the last one; its memory is the device's still
	}
	b := c.memory.Bytes[:commandSize+1]
	b[0], b[1], b[commandSize] = class, command, noAnswer
	copy(b[headSize:commandSize], arg)
	at := uint64(c.memory.IOVA)
	parts := []vring.Part{{Addr: at, Len: headSize}, {Addr: at + headSize, Len: uint32(len(arg))}}
	if _, err := c.ring.Add(parts, []vring.Part{{Addr: at + commandSize, Len: 1}}); err != nil {
		return err
	}
	c.ring.Publish()
	c.notify.Notify()
	pause := 20 * time.Microsecond
	for deadline := time.Now().Add(c.patience); c.ring.Completed() == 0; {
		switch {
		case c.ring.Err() != nil:
			return c.ring.Err()
		case time.Now().After(deadline):
			return errUnanswered
		}
		time.Sleep(pause)
		pause = min(2*pause, 5*time.Millisecond)
	}
	if !c.ring.Take(&u) {
		return c.ring.Err()
	}
	if b[commandSize] != answerOK {
		return ErrRefused
	}
	return nil
}
