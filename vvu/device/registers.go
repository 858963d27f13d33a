package device

import (
	"encoding/binary"
	"errors"

	"go.uber.org/zap"

	"vvufwd/virtio"
)

// Common configuration (virtio 1.3, 4.1.4.3).
const (
	commonOfferSelect  = 0  // u32
	commonOffer        = 4  // u32, read-only
	commonDriverSelect = 8  // u32
	commonDriver       = 12 // u32
	commonConfigVector = 16 // u16
	commonNumQueues    = 18 // u16, read-only
	commonStatus       = 20 // u8
	commonGeneration   = 21 // u8, read-only
	commonQueueSelect  = 22 // u16
	commonQueueSize    = 24 // u16
	commonQueueVector  = 26 // u16
	commonQueueEnable  = 28 // u16
	commonQueueNotify  = 30 // u16, read-only
	commonQueueDesc    = 32 // u64
	commonQueueAvail   = 40 // u64
	commonQueueUsed    = 48 // u64
	commonSize         = 56
)

// ISR status bits (virtio 1.3, 4.1.4.5).
const (
	isrQueue  = 1
	isrConfig = 2
)

// commonRegister is a field that the driver may write.
type commonRegister struct {
	at, size int
	write    func(d *Device, v uint64)
}

var commonRegisters = []commonRegister{
	{commonOfferSelect, 4, func(d *Device, v uint64) { d.offerSelect = uint32(v) }},
	{commonDriverSelect, 4, func(d *Device, v uint64) { d.driverSelect = uint32(v) }},
	{commonDriver, 4, (*Device).writeFeatures},
	{commonConfigVector, 2, func(d *Device, v uint64) { d.configVector = d.validVector(uint16(v)) }},
	{commonStatus, 1, func(d *Device, v uint64) { d.writeStatus(uint8(v)) }},
	{commonQueueSelect, 2, func(d *Device, v uint64) { d.queueSelect = uint16(v) }},
	{commonQueueSize, 2, queueField(func(d *Device, q *queue, v uint64) {
		if v <= queueSize {
			q.size = uint16(v)
		}
	})},
	{commonQueueVector, 2, func(d *Device, v uint64) { // may change at any time
		if q := d.selected(); q != nil {
			q.vector = d.validVector(uint16(v))
		}
	}},
	{commonQueueEnable, 2, queueField(func(d *Device, q *queue, v uint64) {
		q.enabled = v == 1
		d.cond.Broadcast()
	})},
	{commonQueueDesc, 8, queueField(func(d *Device, q *queue, v uint64) { q.desc = v })},
	{commonQueueAvail, 8, queueField(func(d *Device, q *queue, v uint64) { q.avail = v })},
	{commonQueueUsed, 8, queueField(func(d *Device, q *queue, v uint64) { q.used = v })},
}

// queueField is a register of the selected queue that is fixed once the queue is
// enabled.
func queueField(set func(*Device, *queue, uint64)) func(*Device, uint64) {
	return func(d *Device, v uint64) {
		if q := d.selected(); q != nil && !q.enabled {
			set(d, q, v)
		}
	}
}

// selected is the queue that queue_select names, nil if there is none.
func (d *Device) selected() *queue {
	if int(d.queueSelect) >= len(d.queues) {
		return nil
	}
	return &d.queues[d.queueSelect]
}

// common is the image of common configuration as the driver reads it.
func (d *Device) common() (b [commonSize]byte) {
	le := binary.LittleEndian
	half := func(f virtio.Features, sel uint32) uint32 {
		if sel > 1 {
			return 0
		}
		return uint32(f >> (32 * sel))
	}
	le.PutUint32(b[commonOfferSelect:], d.offerSelect)
	le.PutUint32(b[commonOffer:], half(offered, d.offerSelect))
	le.PutUint32(b[commonDriverSelect:], d.driverSelect)
	le.PutUint32(b[commonDriver:], half(d.features, d.driverSelect))
	le.PutUint16(b[commonConfigVector:], d.configVector)
	le.PutUint16(b[commonNumQueues:], uint16(len(d.queues)))
	b[commonStatus], b[commonGeneration] = d.status, d.generation
	le.PutUint16(b[commonQueueSelect:], d.queueSelect)
	q := d.selected()
	if q == nil {
		le.PutUint16(b[commonQueueVector:], virtio.NoVector)
		return b
	}
	le.PutUint16(b[commonQueueSize:], q.size)
	le.PutUint16(b[commonQueueVector:], q.vector)
	if q.enabled {
		b[commonQueueEnable] = 1
	}
	le.PutUint16(b[commonQueueNotify:], d.queueSelect)
	le.PutUint64(b[commonQueueDesc:], q.desc)
	le.PutUint64(b[commonQueueAvail:], q.avail)
	le.PutUint64(b[commonQueueUsed:], q.used)
	return b
}

// writeCommon changes every register that the written bytes touch. What is not
// written of a register keeps its value: 64-bit ones come in halves.
func (d *Device) writeCommon(offset uint64, p []byte) {
	end := offset + uint64(len(p))
	for _, r := range commonRegisters {
		first, last := uint64(r.at), uint64(r.at+r.size)
		if end <= first || offset >= last {
			continue
		}
		// The image is taken again for each: a select changes what follows it.
		image := d.common()
		lo, hi := max(first, offset), min(last, end)
		copy(image[lo:hi], p[lo-offset:hi-offset])
		var v [8]byte
		copy(v[:], image[first:last])
		r.write(d, binary.LittleEndian.Uint64(v[:]))
	}
}

func (d *Device) writeFeatures(v uint64) {
	if d.driverSelect > 1 || d.status&virtio.StatusFeaturesOK != 0 {
		return
	}
	shift := 32 * d.driverSelect
	d.features = d.features&^(0xffffffff<<shift) | virtio.Features(v)<<shift
}

// writeStatus is the driver's progress (virtio 1.3, 3.1.1). Zero is a reset.
func (d *Device) writeStatus(v uint8) {
	if v == 0 {
		d.reset(errors.New("the driver reset the device"))
		return
	}
	if v&virtio.StatusFeaturesOK != 0 && d.status&virtio.StatusFeaturesOK == 0 && !d.acceptable() {
		v &^= virtio.StatusFeaturesOK
	}
	d.status = v | d.status&virtio.StatusNeedsReset
	d.cond.Broadcast()
}

// acceptable checks the driver's features at FEATURES_OK.
func (d *Device) acceptable() bool {
	const need = virtio.Version1 | virtio.AccessPlatform
	if d.features&^offered == 0 && d.features.Has(need) {
		return true
	}
	d.log.Warn("the driver's features are refused", zap.Stringer("driver", d.features),
		zap.Stringer("offered", offered), zap.Stringer("required", need))
	return false
}

// readISR reads and clears the interrupt status.
func (d *Device) readISR(offset uint64, p []byte) {
	if offset == 0 {
		p[0], d.isr = d.isr, 0
	}
}

// notify is a queue notification (virtio 1.3, 4.1.5.2). Which queue it is for
// follows from its place.
func (d *Device) notify(offset uint64) {
	switch offset / notifyStride {
	case rxq:
		d.cond.Broadcast()
	case txq:
		d.cond.Broadcast()
		if !d.connected() {
			d.dropReplies()
		}
	}
}
