package packet

import (
	"encoding/binary"
	"math/bits"
)

// Sum is the sum of the Internet checksum (RFC 1071) over bytes that are added piece
// by piece. The zero value is the sum of nothing.
type Sum struct {
	acc uint64
	odd bool // an odd number of bytes was added
}

// Add adds the next bytes.
func (s *Sum) Add(b []byte) {
	part := words(b)
	if s.odd {
		part = bits.ReverseBytes16(part) // its first byte is a low one
	}
	s.acc += uint64(part) // 2^48 pieces before it overflows
	s.odd = s.odd != (len(b)&1 == 1)
}

// Fold is the sum as 16 bits, in the byte order in which a little-endian load takes
// them from memory.
func (s *Sum) Fold() uint16 { return fold(s.acc) }

func fold(v uint64) uint16 {
	v = v>>32 + v&0xffff_ffff
	v = v>>32 + v&0xffff_ffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	return uint16(v>>16 + v&0xffff)
}

// words is the folded sum of b. The order of bytes does not matter to a sum in one's
// complement (RFC 1071, 2 B), so eight bytes are added at a time, as they lie.
func words(b []byte) uint16 {
	var acc, carry uint64
	for ; len(b) >= 64; b = b[64:] {
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[24:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[32:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[40:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[48:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b[56:]), carry)
	}
	for ; len(b) >= 8; b = b[8:] {
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b), carry)
	}
	var last uint64
	for i, v := range b {
		last |= uint64(v) << (8 * i)
	}
	acc, carry = bits.Add64(acc, last, carry)
	acc, carry = bits.Add64(acc, 0, carry)
	return fold(acc + carry)
}
