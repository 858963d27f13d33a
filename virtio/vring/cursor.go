package vring

// cursor is a place in a packed ring: a slot, and the wrap counter that goes with it
// on this lap (2.8.1). Both sides start at slot 0 with 1.
type cursor struct{ at, wrap uint16 }

// advance moves the cursor n slots on, at most once around a ring of size slots.
func (c *cursor) advance(n, size uint16) {
	c.at += n // size is at most 32768: no overflow
	if c.at >= size {
		c.at -= size
		c.wrap ^= 1
	}
}

// back moves the cursor n slots back, at most once around.
func (c *cursor) back(n, size uint16) {
	if c.at < n {
		c.at += size
		c.wrap ^= 1
	}
	c.at -= n
}

// availFlags are the flags of a descriptor that is available on this lap.
func (c cursor) availFlags() uint16 { return c.wrap<<7 | (c.wrap^1)<<15 }

// usedFlags are the flags of a descriptor that is used on this lap.
func (c cursor) usedFlags() uint16 { return c.wrap<<7 | c.wrap<<15 }

// isAvail and isUsed compare a descriptor's flags with them.
func (c cursor) isAvail(flags uint16) bool { return flags&(DescAvail|DescUsed) == c.availFlags() }
func (c cursor) isUsed(flags uint16) bool  { return flags&(DescAvail|DescUsed) == c.usedFlags() }

// word is the cursor as event areas and vhost-user carry it: the wrap counter is
// bit 15.
func (c cursor) word() uint16 { return c.at | c.wrap<<15 }

// cursorAt is the cursor that such a word names.
func cursorAt(word uint16) cursor { return cursor{word &^ (1 << 15), word >> 15} }

// wants is the answer to "does the other side want to know?" from its event area
// (2.8.10), when the cursor has come to where it is by moved slots. After more than a
// lap, and for an area that means nothing, it is yes.
func (c cursor) wants(area uint32, moved, size uint32, eventIdx bool) bool {
	switch flags := uint16(area>>16) & eventMask; {
	case flags == EventDisable:
		return false
	case flags != EventDesc || !eventIdx:
		return true
	}
	event := cursorAt(uint16(area))
	past := int(c.at) - int(event.at) // how far the cursor is past the event
	if event.wrap != c.wrap {
		past += int(size)
	}
	return moved > size || past > 0 && past <= int(moved)
}
