package pktgen

import (
	"encoding/binary"
	"net"
)

// A frame: Ethernet, IPv4 and UDP headers, and what the kernel calls a pktgen_hdr. All numbers have their
// highest byte first.
const (
	offType    = 12
	offIP      = 14
	offUDP     = offIP + 20
	offMagic   = offUDP + 8
	offNumber  = offMagic + 4 // from 1
	offSeconds = offNumber + 4
	offMicros  = offSeconds + 4
	headersLen = offMicros + 4

	magic = 0xbe9be955
)

// Sizes of frames in bytes, without FCS.
const (
	MinFrame = 60
	MaxFrame = 9014
)

// Port is the UDP port that frames are for: discard.
const Port = 9

// firstStream is the UDP port that stream 0 comes from.
const firstStream = 10000

// MaxStream is the highest number of a stream.
const MaxStream = 50000

// SourcePort is the UDP port that a stream comes from, which tells it from others.
func SourcePort(stream int) int { return firstStream + stream }

// Addresses of frames. No one has them: whoever sees such a frame counts it, and answers nothing.
var (
	NoOne    = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	FromIPv4 = net.IPv4(192, 0, 2, 2)
	ToIPv4   = net.IPv4(192, 0, 2, 1)
)

// stamp is what a frame says of itself.
type stamp struct {
	number uint32
	nanos  int64 // when it was sent, since 1970, by the sender's clock
}

// parse reads the stamp of a frame, of which the beginning is enough, and whether it is one of this stream.
func parse(frame []byte, stream int) (s stamp, ok bool) {
	if len(frame) < headersLen || binary.BigEndian.Uint16(frame[offType:]) != 0x0800 || frame[offIP] != 0x45 || frame[offIP+9] != 17 ||
		binary.BigEndian.Uint32(frame[offMagic:]) != magic || int(binary.BigEndian.Uint16(frame[offUDP:])) != SourcePort(stream) {
		return s, false
	}
	s.number = binary.BigEndian.Uint32(frame[offNumber:])
	s.nanos = int64(binary.BigEndian.Uint32(frame[offSeconds:]))*1e9 + int64(binary.BigEndian.Uint32(frame[offMicros:]))*1e3
	return s, s.number > 0
}

// write puts the stamp into a frame.
func (s stamp) write(frame []byte) {
	binary.BigEndian.PutUint32(frame[offNumber:], s.number)
	binary.BigEndian.PutUint32(frame[offSeconds:], uint32(s.nanos/1e9))
	binary.BigEndian.PutUint32(frame[offMicros:], uint32(s.nanos%1e9/1e3))
}

// newFrame is a frame of so many bytes without a stamp.
func newFrame(bytes, stream int, from net.HardwareAddr) []byte {
	f := make([]byte, bytes)
	copy(f, NoOne)
	copy(f[6:], from)
	binary.BigEndian.PutUint16(f[offType:], 0x0800)
	ip := f[offIP:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17 // version and length, time to live, UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(bytes-offIP))
	copy(ip[12:], FromIPv4.To4())
	copy(ip[16:], ToIPv4.To4())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20]))
	udp := f[offUDP:]
	binary.BigEndian.PutUint16(udp, uint16(SourcePort(stream)))
	binary.BigEndian.PutUint16(udp[2:], Port)
	binary.BigEndian.PutUint16(udp[4:], uint16(bytes-offUDP))
	binary.BigEndian.PutUint32(f[offMagic:], magic)
	return f
}

// checksum is that of an IPv4 header (RFC 1071).
func checksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
