package inteltest

import (
	"encoding/binary"
	"fmt"
)

// ring is one as the registers describe it.
type ring struct {
	base uint64
	size uint32 // descriptors
	tail uint32
	on   bool
}

func (c *Chip) ring(tx bool, i int) ring {
	base := c.layout.rx
	if tx {
		base = c.layout.tx
	}
	at := (base + uint64(i)*c.stride) / 4
	r := ring{
		base: uint64(c.regs[at]) | uint64(c.regs[at+1])<<32, size: c.regs[at+2] / 16, tail: c.regs[at+6],
		on: !c.enables || c.regs[at+10]&(1<<25) != 0,
	}
	if !tx && c.kind == I82574 {
		r.on = c.regs[regRCTL/4]&2 != 0
	}
	return r
}

func (c *Chip) queue(tx bool, i int) *queue {
	states := c.states[0]
	if tx {
		states = c.states[1]
	}
	if states[i] == nil {
		states[i] = &queue{}
	}
	return states[i]
}

// Descriptor is the 16 bytes of descriptor n of a ring, which a test may write as it likes.
func (c *Chip) Descriptor(tx bool, i int, n uint32) []byte {
	r := c.ring(tx, i)
	return c.memory.at(r.base+16*uint64(n%r.size), 16)
}

// Arrival is what the chip says of a frame that it receives.
type Arrival struct {
	SumsRight, SumsWrong bool
	VLAN                 uint16 // a tag that was taken out; 0: none
	Loopback             bool   // of another function of the card
}

// tally counts in a register of statistics, the first of a physical function's, or the second
// of a virtual one's. 0: it has none.
func (c *Chip) tally(physical, virtual uint64) {
	at := physical
	if c.kind == I82576VF {
		at = virtual
	}
	if at != 0 {
		c.regs[at/4]++
	}
}

// Room is how many descriptors a queue has for what arrives.
func (c *Chip) Room(i int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room(i)
}

func (c *Chip) room(i int) int {
	r, q := c.ring(false, i), c.queue(false, i)
	if !r.on || r.size == 0 || r.tail >= r.size {
		return 0
	}
	return int((r.tail + r.size - q.head) % r.size)
}

// Receive has a frame arrive at a queue, and reports whether there was room for it.
func (c *Chip) Receive(i int, frame []byte, a Arrival) bool {
	c.mu.Lock()
	const bufferSize = 2048
	if n := (len(frame) + bufferSize - 1) / bufferSize; n > c.room(i) {
		c.tally(0x4010, 0)
		c.mu.Unlock()
		return false
	}
	for rest := frame; len(rest) > 0; {
		n := min(len(rest), bufferSize)
		status := uint64(1)
		if n == len(rest) {
			status |= 2
			if a.SumsRight || a.SumsWrong {
				status |= 1<<5 | 1<<6
			}
			if a.SumsWrong {
				status |= 1 << 29
			}
			if a.VLAN != 0 {
				status |= 1 << 3
			}
			if a.Loopback {
				status |= 1 << 18
			}
		}
		c.writeBack(i, rest[:n], status|uint64(n)<<32|uint64(a.VLAN)<<48)
		rest = rest[n:]
	}
	c.tally(0x4074, 0xf10)
	told := c.raise(false, i)
	c.mu.Unlock()
	c.tell(told)
	return true
}

func (c *Chip) tell(vectors uint32) {
	for vector := range 32 {
		if vectors>>vector&1 != 0 {
			c.interrupts(vector)
		}
	}
}

// writeBack fills the next buffer of a queue.
func (c *Chip) writeBack(i int, data []byte, second uint64) {
	r, q := c.ring(false, i), c.queue(false, i)
	d := c.memory.at(r.base+16*uint64(q.head), 16)
	buffer := c.memory.at(binary.LittleEndian.Uint64(d), len(data))
	if binary.LittleEndian.Uint64(d[8:]) != 0 || buffer == nil {
		panic(fmt.Sprintf("inteltest: receive descriptor %d is %x", q.head, d))
	}
	copy(buffer, data)
	binary.LittleEndian.PutUint64(d, 0x1234567890abcdef) // a hash, and whatever
	binary.LittleEndian.PutUint64(d[8:], second)
	q.head = (q.head + 1) % r.size
}

// WriteBack fills the next buffer of a queue and says of it what it is told to.
func (c *Chip) WriteBack(i int, data []byte, second uint64) {
	c.mu.Lock()
	c.writeBack(i, data, second)
	c.mu.Unlock()
}

// Transmit sends what a queue has, up to most descriptors, and returns how many it has
// taken. What is on the wire then Wire returns.
func (c *Chip) Transmit(i, most int) (n int) {
	c.mu.Lock()
	r, q := c.ring(true, i), c.queue(true, i)
	var told uint32
	for ; r.on && r.size > 0 && q.head != r.tail && n < most; n++ {
		d := c.memory.at(r.base+16*uint64(q.head), 16)
		first, second := binary.LittleEndian.Uint64(d), binary.LittleEndian.Uint64(d[8:])
		c.descriptor(q, first, second)
		if second&(1<<27) != 0 {
			binary.LittleEndian.PutUint64(d[8:], second|1<<32)
			told |= c.raise(true, i)
		}
		q.head = (q.head + 1) % r.size
	}
	c.mu.Unlock()
	c.tell(told)
	return n
}

// descriptor takes one descriptor.
func (c *Chip) descriptor(q *queue, first, second uint64) {
	if second&(1<<29) == 0 {
		panic(fmt.Sprintf("inteltest: a legacy descriptor: %x %x", first, second))
	}
	kind := second >> 20 & 15
	context := kind == 2
	data := kind == 3
	length := int(second & 0xffff)
	if c.kind == I82574 {
		context, data = kind == 0, kind == 1
		length = int(second & 0xfffff)
	}
	switch {
	case context:
		q.context = [2]uint64{first, second}
		if c.kind == I82574 { // one for all
			for _, other := range c.states[1] {
				if other != nil {
					other.context = q.context
				}
			}
		}
		return
	case !data:
		panic(fmt.Sprintf("inteltest: a descriptor of no kind: %x %x", first, second))
	}
	buffer := c.memory.at(first, length)
	if buffer == nil {
		panic(fmt.Sprintf("inteltest: data at %x, %d bytes: outside", first, length))
	}
	if len(q.frame) == 0 {
		q.first = second
	}
	q.frame = append(q.frame, buffer...)
	if second&(1<<24) != 0 {
		if len(q.frame) < 17 {
			panic(fmt.Sprintf("inteltest: a frame of %d bytes is sent, too short to be padded", len(q.frame)))
		}
		c.send(q)
		q.frame = nil
	}
}
