package traffic

import (
	"hash/crc32"

	"vvufwd/cmd/vvugen/port"
)

// phases is how many different payloads there are. Frames whose numbers differ
// by less carry different bytes, so that stale buffers do not pass for new ones.
const (
	phases    = 256
	phaseStep = 8 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pattern is the source of payloads of one length: windows of one pseudo-random
// sequence, with their checksums. It is read-only once made.
type pattern struct {
	bytes []byte
	n     int
	sums  [phases]uint32
}

// newPattern makes the payloads of frames of size bytes.
func newPattern(size int) *pattern {
	p := &pattern{bytes: make([]byte, port.MaxFrame+phases*phaseStep), n: size - offPayload}
	x := uint64(0x2545f4914f6cdd1d)
	for i := range p.bytes {
		x ^= x << 13 // xorshift64
		x ^= x >> 7
		x ^= x << 17
		p.bytes[i] = byte(x >> 32)
	}
	for i := range p.sums {
		p.sums[i] = crc32.Checksum(p.window(i), castagnoli)
	}
	return p
}

// window is the payload of a phase.
func (p *pattern) window(phase int) []byte {
	at := phase % phases * phaseStep
	return p.bytes[at : at+p.n : at+p.n]
}
