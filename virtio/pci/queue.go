package virtiopci

import (
	"fmt"
	"math/bits"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/mmio"
	"vvufwd/virtio"
)

// QueueConfig is how a queue is set up.
type QueueConfig struct {
	// Size is the number of descriptors: at most QueueMaxSize, and a power of two
	// unless the ring is Packed.
	Size   uint16
	Packed bool // RING_PACKED was negotiated
	// Desc, Avail and Used are the three parts of a ring, aligned to 16, 2 and 4
	// bytes. Of a packed ring the last two are the driver's and the device's event
	// area, both aligned to 4.
	Desc, Avail, Used dma.IOVA
	// Vector is the MSI-X vector for used buffers, or virtio.NoVector.
	Vector uint16
}

// NumQueues is how many queues the device has at most.
func (t *Transport) NumQueues() uint16 { return t.common.Load16(commonNumQueues) }

// QueueMaxSize is the largest size that queue q may have, 0 when it does not exist.
// Once a queue is set up it is the size it was given.
func (t *Transport) QueueMaxSize(q uint16) uint16 {
	t.common.Store16(commonQueueSelect, q)
	return t.common.Load16(commonQueueSize)
}

// SetupQueue sets queue q up and enables it (4.1.5.1.3). It goes between Negotiate
// and DriverOK. On an error the device is FAILED.
func (t *Transport) SetupQueue(q uint16, cfg QueueConfig) (*Notifier, error) {
	n, err := t.setupQueue(q, cfg)
	if err != nil {
		return nil, t.failWith(fmt.Errorf("%v: set up queue %d: %w", t.addr, q, err))
	}
	return n, nil
}

func (t *Transport) setupQueue(q uint16, cfg QueueConfig) (*Notifier, error) {
	largest := t.QueueMaxSize(q)
	availAlign := dma.IOVA(2)
	if cfg.Packed {
		availAlign = 4
	}
	switch {
	case largest == 0:
		return nil, fmt.Errorf("the device has no such queue, only %d", t.NumQueues())
	case cfg.Size == 0 || cfg.Size > largest:
		return nil, fmt.Errorf("size %d: want 1 to %d", cfg.Size, largest)
	case !cfg.Packed && bits.OnesCount16(cfg.Size) != 1:
		return nil, fmt.Errorf("size %d of a split ring: want a power of two up to %d", cfg.Size, largest)
	case cfg.Desc%16 != 0 || cfg.Avail%availAlign != 0 || cfg.Used%4 != 0:
		return nil, fmt.Errorf("rings at %v, %v, %v: want alignments of 16, %d, 4", cfg.Desc, cfg.Avail, cfg.Used, availAlign)
	case t.common.Load16(commonQueueEnable) != 0:
		return nil, fmt.Errorf("it is enabled still, although the device says that it was reset: start the program or the machine that provides it anew")
	}
	notifier, err := t.notifier(q)
	if err != nil {
		return nil, err
	}
	t.common.Store16(commonQueueSize, cfg.Size)
	if err := t.setVector(commonQueueVector, cfg.Vector); err != nil {
		return nil, err
	}
	t.common.Store64(commonQueueDesc, uint64(cfg.Desc))
	t.common.Store64(commonQueueDriver, uint64(cfg.Avail))
	t.common.Store64(commonQueueDevice, uint64(cfg.Used))
	t.common.Store16(commonQueueEnable, 1)
	return notifier, nil
}

// notifier finds the register that notifies the selected queue (4.1.4.4).
func (t *Transport) notifier(q uint16) (*Notifier, error) {
	off := uint64(t.common.Load16(commonQueueNotifyOff)) * uint64(t.caps.NotifyMultiplier)
	register, err := mmio.Sub(t.notify, off, 2)
	if err != nil {
		return nil, fmt.Errorf("its notification register: %w", err)
	}
	return &Notifier{register: register, queue: q}, nil
}

// SetConfigVector chooses the MSI-X vector for configuration changes, or none with
// virtio.NoVector. On an error the device is FAILED.
func (t *Transport) SetConfigVector(vector uint16) error {
	if err := t.setVector(commonConfigVector, vector); err != nil {
		return t.failWith(fmt.Errorf("%v: configuration changes: %w", t.addr, err))
	}
	return nil
}

// setVector writes a vector register and reads it back: the device answers NoVector
// when it cannot take the vector (4.1.5.1.2).
func (t *Transport) setVector(register uint64, vector uint16) error {
	t.common.Store16(register, vector)
	if got := t.common.Load16(register); got != vector {
		if got == virtio.NoVector {
			return fmt.Errorf("the device does not take MSI-X vector %d; give it more vectors (vectors=N)", vector)
		}
		return fmt.Errorf("the device answers with MSI-X vector %d instead of %d", got, vector)
	}
	return nil
}

// Notifier tells the device that a queue has new buffers. Safe for concurrent use.
type Notifier struct {
	register mmio.Space
	queue    uint16
}

// Notify writes the queue's index, two bytes, to its notification register
// (4.1.5.2). What was written to the ring before is visible to the device by then.
func (n *Notifier) Notify() { n.register.Store16(0, n.queue) }
