package l2nat

import "encoding/binary"

// frame is what is known of a frame's headers. Its bytes are ours: they stay as they are but for
// what we change.
type frame struct {
	b    []byte
	kind uint16 // EtherType, after VLAN tags
	l3   int    // where what it says begins
	vlan uint32 // of up to two tags: the outer one lowest; 0 is none, as in a tag that is for the priority alone
}

// Fields of an Ethernet header, and of tags, in bytes.
const (
	etherDestination = 0
	etherSource      = 6
	etherType        = 12
	etherLen         = 14
	tagLen           = 4
	vlanMask         = 0xfff
)

// EtherTypes.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeRARP = 0x8035
	typeTag  = 0x8100 // 802.1Q
	typeTags = 0x88a8 // 802.1ad
	typeIPv6 = 0x86dd
)

// parse looks at a frame that has an Ethernet header at least.
func parse(b []byte) frame {
	f := frame{b: b, kind: be16(b[etherType:]), l3: etherLen}
	for shift := 0; shift <= 12 && (f.kind == typeTag || f.kind == typeTags) && len(b) >= f.l3+tagLen; shift += 12 {
		f.vlan |= uint32(be16(b[f.l3:])&vlanMask) << shift
		f.kind = be16(b[f.l3+2:])
		f.l3 += tagLen
	}
	return f
}

func (f *frame) destination() mac { return macAt(f.b[etherDestination:]) }
func (f *frame) source() mac      { return macAt(f.b[etherSource:]) }

// rest is the frame from the network layer on.
func (f *frame) rest() []byte { return f.b[f.l3:] }

func be16(b []byte) uint16     { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32     { return binary.BigEndian.Uint32(b) }
func put16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }

// replace puts an even number of bytes in place of others, both at an even distance from the start of
// what a checksum is about, and corrects that (RFC 1624, eq. 3). sum is nil if that is left to someone
// else.
func replace(at, with, sum []byte) {
	if sum != nil {
		total := uint32(^be16(sum))
		for i := 0; i < len(with); i += 2 {
			total += uint32(^be16(at[i:])) + uint32(be16(with[i:]))
		}
		for total>>16 != 0 {
			total = total&0xffff + total>>16
		}
		put16(sum, ^uint16(total))
	}
	copy(at, with)
}
