package traffic

import (
	"encoding/binary"

	"vvufwd/cmd/vvugen/port"
)

// Offsets in a frame; see the package documentation.
const (
	offIPv4     = 14
	offUDP      = 34
	offTag      = 40 // UDP checksum and magic
	offMagic    = 42
	offCheck    = 44
	offSequence = 48
	offStamp    = 56
	offPayload  = port.MinFrame
)

const (
	magic    = 0x5600 // the stream number is in the low byte
	flowPort = 0xc000 // UDP source port of flow 0
	sinkPort = 9      // discard
	flows    = 64     // a power of two
)

// header is the part of a frame that is written for every frame, whatever its
// length.
type header [offPayload]byte

// stream names a stream and the stations at its ends. A port is the same station in
// all its streams, so that a switch can learn where it is.
type stream struct {
	number   uint8
	from, to uint16
}

// newHeader makes the headers of a stream's frames. Sequence, stamp and check
// are left zero.
func newHeader(s stream, size int) (h header) {
	copy(h[0:], []byte{0x02, 0x56, 0x47, 0, byte(s.to >> 8), byte(s.to)})
	copy(h[6:], []byte{0x02, 0x56, 0x47, 0, byte(s.from >> 8), byte(s.from)})
	binary.BigEndian.PutUint16(h[12:], 0x0800)

	ip := h[offIPv4:offUDP]
	ip[0] = 0x45 // version 4, 20 bytes
	binary.BigEndian.PutUint16(ip[2:], uint16(size-offIPv4))
	binary.BigEndian.PutUint16(ip[6:], 0x4000) // do not fragment
	ip[8] = 64                                 // time to live
	ip[9] = 17                                 // UDP
	copy(ip[12:], []byte{198, 18, s.number, 1})
	copy(ip[16:], []byte{198, 19, s.number, 1})
	binary.BigEndian.PutUint16(ip[10:], ipChecksum(ip))

	udp := h[offUDP:offMagic]
	binary.BigEndian.PutUint16(udp[0:], flowPort)
	binary.BigEndian.PutUint16(udp[2:], sinkPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(size-offUDP))

	binary.LittleEndian.PutUint16(h[offMagic:], magic|uint16(s.number))
	return h
}

// ipChecksum is the Internet checksum of a header whose own field is zero.
func ipChecksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// setFlow makes the frame one of a flow, taken modulo the number of flows.
func (h *header) setFlow(flow int) {
	binary.BigEndian.PutUint16(h[offUDP:], flowPort+uint16(flow%flows))
}

func (h *header) flow() int { return int(binary.BigEndian.Uint16(h[offUDP:])) - flowPort }

// tag is what seal needs to know of a header: its bytes from offTag to offCheck.
func (h *header) tag() uint64 { return uint64(binary.LittleEndian.Uint32(h[offTag:])) }

// seal writes the fields that differ from frame to frame, in as few stores as
// possible: each may have to wait in a store buffer for the frame's cache line.
// It reads nothing of the frame, which would wait as well.
func (h *header) seal(tag, sequence uint64, stamp int64, check uint32) {
	binary.LittleEndian.PutUint64(h[offTag:], tag|uint64(check)<<32)
	binary.LittleEndian.PutUint64(h[offSequence:], sequence)
	binary.LittleEndian.PutUint64(h[offStamp:], uint64(stamp))
}

func (h *header) sequence() uint64 { return binary.LittleEndian.Uint64(h[offSequence:]) }
func (h *header) stamp() int64     { return int64(binary.LittleEndian.Uint64(h[offStamp:])) }
func (h *header) check() uint32    { return binary.LittleEndian.Uint32(h[offCheck:]) }

// check mixes what must arrive unchanged into 32 bits; content is what content
// returned. It guards against faults, not against malice.
func check(sequence uint64, stamp int64, size int, content uint32) uint32 {
	x := (sequence^0x9e3779b97f4a7c15)*0xbf58476d1ce4e5b9 ^ uint64(stamp)*0x94d049bb133111eb ^ uint64(size)<<40
	return uint32(x>>32) ^ uint32(x) ^ content
}

// content mixes the checksum of a payload with the flow.
func content(flow int, payload uint32) uint32 { return payload ^ uint32(flow+1)*0x9e3779b1 }
