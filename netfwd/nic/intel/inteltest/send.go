package inteltest

import (
	"encoding/binary"
	"fmt"
)

// offsets are those of a frame's headers, as a context says.
type offsets struct{ l3, l4, sum, end, size int }

// offsets reads a context in the chip's format.
func (c *Chip) offsets(x [2]uint64) offsets {
	first, second := x[0], x[1]
	if c.kind == I82574 {
		o := offsets{
			l3: int(first & 0xff), l4: int(first >> 32 & 0xff), sum: int(first >> 40 & 0xff),
			end: int(second >> 40 & 0xff), size: int(second >> 48),
		}
		if second>>26&1 == 0 {
			o.end, o.size = 0, 0
		}
		return o
	}
	mac, ip := int(first>>9&0x7f), int(first&0x1ff)
	o := offsets{l3: mac, l4: mac + ip, size: int(second >> 48)}
	o.end = o.l4 + int(second>>40&0xff)
	switch second >> 11 & 3 {
	case 0:
		o.sum = o.l4 + 6
	case 1:
		o.sum = o.l4 + 16
	}
	return o
}

// send puts a frame on the wire, after what its first descriptor asks for.
func (c *Chip) send(q *queue) {
	c.tally(0x4080, 0xf14)
	cut := q.first>>31&1 != 0
	if c.kind == I82574 {
		cut = q.first>>26&1 != 0
	}
	l4, ip := q.first>>41&1 != 0, q.first>>40&1 != 0
	o := c.offsets(q.context)
	if !cut {
		if payload := int(q.first >> 46); c.kind != I82574 && payload != len(q.frame) {
			panic(fmt.Sprintf("inteltest: a frame of %d bytes says that it has %d", len(q.frame), payload))
		}
		if l4 {
			c.Summed++
			complete(q.frame, o.l4, o.sum)
		}
		c.wire = append(c.wire, q.frame)
		return
	}
	payload := int(q.first >> 46)
	if c.kind == I82574 {
		payload = int(q.context[1] & 0xfffff)
	}
	if payload != len(q.frame)-o.end || !l4 {
		panic(fmt.Sprintf("inteltest: %d bytes of payload, says the descriptor, in %d with headers of %d", payload, len(q.frame), o.end))
	}
	c.tally(0x40f8, 0)
	c.Cut++
	c.segments(q.frame, o, ip)
}

// segments puts the segments of a large frame on the wire.
func (c *Chip) segments(frame []byte, o offsets, ip4 bool) {
	head, data := frame[:o.end], frame[o.end:]
	be := binary.BigEndian
	sequence, id := be.Uint32(head[o.l4+4:]), be.Uint16(head[o.l3+4:])
	for i := 0; len(data) > 0; i++ {
		n := min(o.size, len(data))
		s := append(append([]byte{}, head...), data[:n]...)
		data = data[n:]
		if ip4 {
			be.PutUint16(s[o.l3+2:], uint16(len(s)-o.l3))
			be.PutUint16(s[o.l3+4:], id+uint16(i))
			complete(s[:o.l4], o.l3, o.l3+10)
		} else {
			be.PutUint16(s[o.l3+4:], uint16(len(s)-o.l3-40))
		}
		be.PutUint32(s[o.l4+4:], sequence+uint32(i*o.size))
		if len(data) > 0 {
			s[o.l4+13] &^= 0x09 // FIN, PSH
		}
		// The sum of the pseudo header that the driver has left has no length.
		sum := uint32(be.Uint16(s[o.sum:])) + uint32(len(s)-o.l4)
		be.PutUint16(s[o.sum:], uint16(sum>>16+sum&0xffff))
		complete(s, o.l4, o.sum)
		c.wire = append(c.wire, s)
	}
}

// complete stores the checksum of everything from start on, with what the field has.
func complete(b []byte, start, field int) {
	var sum uint32
	for i := start; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[field:], ^uint16(sum))
}
