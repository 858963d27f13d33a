package virtionet

import "vvufwd/virtio"

// Header is struct virtio_net_hdr (5.1.6), which stands before every frame in a
// ring. It is hostile when it comes from a guest: what a peer did not negotiate
// is masked away before it goes anywhere.
type Header struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16
	GSOSize    uint16
	CsumStart  uint16
	CsumOffset uint16
	NumBuffers uint16
}

// Header sizes in bytes: with VERSION_1 or MRG_RXBUF num_buffers is present.
const (
	HeaderLen       = 12
	LegacyHeaderLen = 10
)

// HeaderSize is the size of the header under the negotiated features (5.1.6.1).
func HeaderSize(f virtio.Features) int {
	if f&(virtio.Version1|virtio.NetMrgRxbuf) != 0 {
		return HeaderLen
	}
	return LegacyHeaderLen
}

// decodeHeader reads a header of n bytes (10 or 12) out of the first views,
// byte by byte if they are smaller, and returns the views behind it. The views
// hold at least n bytes; their slice headers are changed, not the memory.
func decodeHeader(views [][]byte, n int) (Header, [][]byte) {
	var raw [HeaderLen]byte
	for got := 0; got < n; {
		k := copy(raw[got:n], views[0])
		got += k
		if views[0] = views[0][k:]; len(views[0]) == 0 {
			views = views[1:]
		}
	}
	return Header{
		Flags: raw[0], GSOType: raw[1],
		HdrLen: le16(raw[2:]), GSOSize: le16(raw[4:]),
		CsumStart: le16(raw[6:]), CsumOffset: le16(raw[8:]),
		NumBuffers: le16(raw[10:]),
	}, views
}

// encode writes the header's 12 bytes; a legacy peer gets the first 10.
func (h *Header) encode(raw *[HeaderLen]byte) {
	raw[0], raw[1] = h.Flags, h.GSOType
	putLE16(raw[2:], h.HdrLen)
	putLE16(raw[4:], h.GSOSize)
	putLE16(raw[6:], h.CsumStart)
	putLE16(raw[8:], h.CsumOffset)
	putLE16(raw[10:], h.NumBuffers)
}

func le16(b []byte) uint16       { return uint16(b[0]) | uint16(b[1])<<8 }
func putLE16(b []byte, v uint16) { b[0], b[1] = byte(v), byte(v>>8) }
