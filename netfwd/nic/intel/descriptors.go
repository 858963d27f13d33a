package intel

// Descriptors are 16 bytes, two words here.

// A receive descriptor as the chip has written it back: the second word, of which the first
// half is status and error bits, then length and VLAN tag (82574 chapter 7, extended write-back;
// 82576 chapter 7, advanced write-back).
const (
	rxDone      = 1 << 0
	rxEnd       = 1 << 1 // of packet
	rxNoSums    = 1 << 2 // 82574: ignore the checksum bits
	rxTagged    = 1 << 3 // a VLAN tag was taken out
	rxUDPSum    = 1 << 4 // the checksum of TCP or UDP was looked at: 82574 has a bit for each
	rxTCPSum    = 1 << 5
	rxLoopback  = 1 << 18 // a frame of another function of the card
	rxBadL4     = 1 << 29
	rxBadIP     = 1 << 30
	rxErrors    = 0x97 << 24 // CRC and what else is wrong with a frame, and on which no chip agrees
	rxLenShift  = 32
	rxVLANShift = 48

	// Of a frame that is in one buffer and as it should be.
	rxPlainMask = rxDone | rxEnd | rxTagged | rxErrors
	rxPlain     = rxDone | rxEnd
)

// sumsRight reports whether the chip has looked at the checksum of TCP or UDP and it
// was right.
func sumsRight(w uint64) bool {
	return w&(rxUDPSum|rxTCPSum) != 0 && w&(rxNoSums|rxBadL4|rxBadIP) == 0
}

// Transmit descriptors, second word. Where they lie is the same in both formats, but for
// what Format says (82574 chapter 7, extended data descriptor; 82576 chapter 7, advanced).
const (
	txEnd    = 1 << 24 // of packet
	txCRC    = 1 << 25 // add it
	txReport = 1 << 27 // write back when done
	txExt    = 1 << 29 // not the legacy format
	txDone   = 1 << 32 // written back
	txIPSum  = 1 << 40 // insert the checksum of the IPv4 header
	txL4Sum  = 1 << 41 // that of TCP or UDP

	txExtData   = 1 << 20 // 82574: data; context is 0
	txExtCut    = 1 << 26 // 82574: segment
	txAdvData   = 3 << 20 // 82576
	txAdvCtx    = 2 << 20
	txAdvCut    = 1 << 31
	txAdvLength = 46 // 82576: where the length of the frame lies, headers of what is cut aside
)

// Format is that of a chip's transmit descriptors.
type Format uint8

// Formats of transmit descriptors.
const (
	Extended Format = iota // 82574: contexts are offsets in the frame
	Advanced               // 82576: contexts are lengths of headers
)

// data is the second word of a descriptor of n bytes of data, which are part of a frame of
// payload bytes that count.
func (f Format) data(n, payload int) uint64 {
	if f == Extended {
		return uint64(n) | txExtData | txExt | txCRC
	}
	return uint64(n) | txAdvData | txExt | txCRC | uint64(payload)<<txAdvLength
}

// cut is the bit that asks for segments.
func (f Format) cut() uint64 {
	if f == Extended {
		return txExtCut
	}
	return txAdvCut
}

// txContext tells a chip where the headers of the frames are that come after it.
type txContext [2]uint64

// headers are where a frame's headers lie, as far as offloads need it, in bytes from its
// start.
type headers struct {
	l3, l4, end int // end: 0 if nothing is cut
	sum         int // the checksum to insert, from l4 to the end of the frame
	tcp, ipv4   bool
	size        int // of segments; 0: none
	payload     int // of the frame that is cut
}

// Bits of the context's command: in the extended format (82574 chapter 7, context descriptor).
const (
	extCtxTCP  = 1 << 24
	extCtxIPv4 = 1 << 25
	extCtxCut  = 1 << 26

	ip4SumOffset = 10
)

// Fields of the advanced format (82576 chapter 7).
const (
	advCtxMACShift = 9
	advCtxIPv4     = 1 << 10
	advCtxTCP      = 1 << 11
)

// context makes the descriptor for a frame with such headers. All offsets are below 256.
func (f Format) context(h *headers) (c txContext) {
	if f == Advanced {
		c[0] = uint64(h.l3)<<advCtxMACShift | uint64(h.l4-h.l3)
		c[1] = txAdvCtx | txExt
		if h.ipv4 {
			c[1] |= advCtxIPv4
		}
		if h.tcp {
			c[1] |= advCtxTCP
		}
		if h.size > 0 {
			c[1] |= uint64(h.end-h.l4)<<40 | uint64(h.size)<<48
		}
		return c
	}
	c[0] = uint64(h.l4)<<32 | uint64(h.sum)<<40
	c[1] = txExt
	if h.size > 0 {
		c[1] |= extCtxCut | uint64(h.payload) | uint64(h.end)<<40 | uint64(h.size)<<48
		c[0] |= uint64(h.l3) | uint64(h.l4-1)<<16
		if h.ipv4 {
			c[0] |= uint64(h.l3+ip4SumOffset) << 8
			c[1] |= extCtxIPv4
		}
	}
	if h.tcp {
		c[1] |= extCtxTCP
	}
	return c
}
