package virtionet

import (
	"encoding/binary"

	"vvufwd/virtio"
)

// Header is struct virtio_net_hdr (5.1.6), which precedes every frame in a
// ring. It is hostile when it comes from a guest: what goes anywhere is what was
// negotiated and is true of the frame (see HeaderParser), and nothing else.
type Header struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16
	GSOSize    uint16
	CsumStart  uint16
	CsumOffset uint16
	NumBuffers uint16
}

// Header sizes and offsets in bytes: with VERSION_1 or MRG_RXBUF num_buffers is present.
const (
	HeaderLen       = 12
	LegacyHeaderLen = 10

	NumBuffersOffset = 10 // of the field in the header
)

// HeaderSize is the size of the header under the negotiated features (5.1.6.1).
func HeaderSize(f virtio.Features) int {
	if f&(virtio.Version1|virtio.NetMrgRxbuf) != 0 {
		return HeaderLen
	}
	return LegacyHeaderLen
}

// Put writes the header's 12 bytes to the start of b; a legacy peer gets the
// first 10 of them.
func (h *Header) Put(b *[HeaderLen]byte) {
	binary.LittleEndian.PutUint64(b[0:8], uint64(h.Flags)|uint64(h.GSOType)<<8|uint64(h.HdrLen)<<16|uint64(h.GSOSize)<<32|uint64(h.CsumStart)<<48)
	binary.LittleEndian.PutUint32(b[8:12], uint32(h.CsumOffset)|uint32(h.NumBuffers)<<16)
}

// get reads all but NumBuffers.
func (h *Header) get(b *[LegacyHeaderLen]byte) {
	*h = Header{
		Flags: b[0], GSOType: b[1], HdrLen: le16(b[2:]), GSOSize: le16(b[4:]),
		CsumStart: le16(b[6:]), CsumOffset: le16(b[8:]),
	}
}

// CopyHeader copies what of a header get reads from the start of views, once: its sender
// may be changing it.
func CopyHeader(b *[LegacyHeaderLen]byte, views [][]byte) {
	if v := views[0]; len(v) >= len(b) {
		*b = [LegacyHeaderLen]byte(v)
		return
	}
	CopyViews(b[:], views, 0, 0)
}

// AfterHeader returns the views after the n bytes of header, which the views
// hold at least. Their slice headers are changed, not the memory.
func AfterHeader(views [][]byte, n int) [][]byte {
	for len(views) > 0 && len(views[0]) <= n {
		n -= len(views[0])
		views = views[1:]
	}
	if n > 0 {
		views[0] = views[0][n:]
	}
	return views
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
