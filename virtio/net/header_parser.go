package virtionet

import "vvufwd/virtio/net/packet"

// maxPieces is the largest number of frames into which one may ask to be cut. With the
// least segment size that Linux agrees to, 48 bytes, a frame of 64 KiB makes 1365; a
// frame that asks for more only wants to keep us busy.
const maxPieces = 2048

// HeaderParser looks at the headers of the frames of a burst and keeps private copies of what
// frames with offloads begin with: what was checked there must not change until the
// frame has been sent. It belongs to a port; its copies are valid until Reset.
type HeaderParser struct {
	heads [MaxBurst][packet.MaxHead]byte
	views [][]byte // backing of the frames' new Data
}

// Reset begins a new burst.
func (p *HeaderParser) Reset() { p.views = p.views[:0] }

// Parse checks the header of the i-th frame of the burst, a private copy, against the
// frame and against what its sender may leave undone. On success
// f.Header is what of it is true and matters, and may be relied on; if it is special, a
// private copy of the packet's headers replaces the frame's first bytes. It
// returns false for a header that lies. f has Data and Len, and a zero Header.
func (p *HeaderParser) Parse(i int, f *Frame, b *[LegacyHeaderLen]byte, may Offloads) bool {
	if b[0]&(FlagNeedsCsum|FlagDataValid) == 0 && b[1] == GSONone {
		return true
	}
	h := &f.Header
	f.sent = 0
	undone, ok := h.reduce(b, may)
	if !undone {
		return ok
	}
	head := p.heads[i][:min(f.Len, packet.MaxHead)]
	CopyViews(head, f.Data, 0, 0)
	var keep int
	if f.layout, keep, ok = h.compare(head, f.Len, may); !ok {
		return false
	}
	p.views = f.ReplaceStart(head[:keep], p.views) // grows to what bursts take, then no more
	return true
}

// reduce reads a header, a private copy, and leaves of it what does not depend on the
// frame. If something is left undone in that, compare has the last word; if not, ok
// does.
func (h *Header) reduce(b *[LegacyHeaderLen]byte, may Offloads) (undone, ok bool) {
	h.get(b)
	if h.Flags &= FlagNeedsCsum | FlagDataValid; may&OffloadDataValid == 0 {
		h.Flags &^= FlagDataValid // not for a driver to say (5.1.6.2)
	}
	if h.Flags&FlagNeedsCsum == 0 {
		*h = Header{Flags: h.Flags, GSOType: h.GSOType}
		return false, h.GSOType == GSONone // which goes with NEEDS_CSUM only (5.1.6.2)
	}
	h.Flags = FlagNeedsCsum
	return true, true
}

// compare checks what reduce has left against a frame of n bytes, of which head is the
// beginning, a private copy: all of it, or packet.MaxHead bytes. The first keep of these
// must go out as they are.
func (h *Header) compare(head []byte, n int, may Offloads) (l packet.Layout, keep int, ok bool) {
	l = packet.Parse(head)
	if !h.check(&l, n, may) {
		return l, 0, false
	}
	if h.GSOType != GSONone {
		return l, int(l.End), true
	}
	return l, int(h.CsumStart+h.CsumOffset) + 2, true
}

// check checks the header of a frame of n bytes that needs a checksum, and reduces it
// to what is true. All of its fields are checked, or set anew, or cleared.
func (h *Header) check(l *packet.Layout, n int, may Offloads) bool {
	h.HdrLen, h.NumBuffers = 0, 0 // a hint; and the ring's own
	start, field := int(h.CsumStart), int(h.CsumStart)+int(h.CsumOffset)
	if may&OffloadCsum == 0 || start < int(l.L4) || field+2 > min(n, packet.MaxHead) || h.CsumOffset%2 != 0 {
		return false // not after the headers that say where the frame goes, or across two words of the sum
	}
	known := start == int(l.L4) && l.Protocol != 0
	if known && h.CsumOffset != l.ChecksumOffset() {
		return false
	}
	if h.GSOType == GSONone {
		h.GSOSize = 0
		return true
	}
	need := h.gsoOffloads(l.IPv6)
	isTCP := need&(OffloadTSO4|OffloadTSO6) != 0
	if !known || need == 0 || need&^may != 0 || isTCP != (l.Protocol == packet.TCP) || h.GSOSize == 0 {
		return false
	}
	payload, size := n-int(l.End), int(h.GSOSize)
	if payload > size*maxPieces {
		return false
	}
	if payload <= size { // one piece: there is nothing to cut
		h.GSOType, h.GSOSize = GSONone, 0
		return true
	}
	if size > l.MaxPayload() {
		return false // no piece but the last could say how long it is, whoever cuts
	}
	h.HdrLen = l.End
	return true
}
