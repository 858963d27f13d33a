// Package nettest has frames with offloads for tests of ports, and checks that every kind of
// port that sends has to pass.
package nettest

import (
	"encoding/binary"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

// AllOffloads are all that a driver may leave to its device.
const AllOffloads = virtionet.OffloadCsum | virtionet.OffloadGSO

// Payload is n bytes that depend on their position and on seed.
func Payload(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed + i>>8)
	}
	return b
}

// Frame is a frame of these views, with nothing in its header.
func Frame(data ...[]byte) virtionet.Frame {
	f := virtionet.Frame{Data: data}
	for _, d := range data {
		f.Len += len(d)
	}
	return f
}

// BurstOf is a burst of frames, none of them plain.
func BurstOf(frames ...virtionet.Frame) *virtionet.Burst {
	b := &virtionet.Burst{}
	b.Truncate(copy(b.General(), frames))
	return b
}

// ParseHeader reads the header at the start of what lies in a ring.
func ParseHeader(raw []byte) virtionet.Header {
	le := binary.LittleEndian
	return virtionet.Header{
		Flags: raw[0], GSOType: raw[1], HdrLen: le.Uint16(raw[2:]), GSOSize: le.Uint16(raw[4:]),
		CsumStart: le.Uint16(raw[6:]), CsumOffset: le.Uint16(raw[8:]), NumBuffers: le.Uint16(raw[10:]),
	}
}

// gsoType is the type of a header for a large segment of the shape.
func gsoType(s packettest.Shape) uint8 {
	switch {
	case s.Layout.Protocol == packet.UDP:
		return virtionet.GSOUDP
	case s.Layout.IPv6:
		return virtionet.GSOTCPv6 | virtionet.GSOECN
	}
	return virtionet.GSOTCPv4 | virtionet.GSOECN
}

// CsumHeader is the header of an honest guest that leaves the checksum.
func CsumHeader(s packettest.Shape) virtionet.Header {
	return virtionet.Header{Flags: virtionet.FlagNeedsCsum, CsumStart: s.Layout.L4, CsumOffset: s.Layout.ChecksumOffset()}
}

// GSOHeader is that of one that leaves the segmentation too.
func GSOHeader(s packettest.Shape, size int) virtionet.Header {
	h := CsumHeader(s)
	h.GSOType, h.GSOSize, h.HdrLen = gsoType(s), uint16(size), s.Layout.End
	return h
}

// Unfinished is the shape's frame as it comes out of a HeaderParser, its data in views of
// different lengths.
func Unfinished(t testing.TB, s packettest.Shape, h virtionet.Header) virtionet.Frame {
	t.Helper()
	b := s.Unfinished()
	f := virtionet.Frame{Len: len(b)}
	for n := 7; len(b) > 0; n = n*3 + 1 {
		n := min(n, len(b))
		f.Data = append(f.Data, b[:n])
		b = b[n:]
	}
	var raw [virtionet.HeaderLen]byte
	h.Put(&raw)
	if !new(virtionet.HeaderParser).Parse(0, &f, (*[virtionet.LegacyHeaderLen]byte)(raw[:]), AllOffloads|virtionet.OffloadDataValid) {
		t.Fatalf("%s: the header is refused: %+v", s.Name, h)
	}
	return f
}
