package virtionet

import "vvufwd/virtio/net/packet"

// SoftwareGSO makes of a frame with offloads what a port can take: the frame itself, or
// the frame with its checksum completed, or the segments of it, one after the other. How
// far a frame has come is kept in the frame, so that it can wait for room in its middle.
// It belongs to a port.
//
// The frame is not changed, other than in that: it may have to go to other ports too.
type SoftwareGSO struct {
	out   Frame // see Next
	views [][]byte
	head  [packet.MaxHead]byte

	f      *Frame
	takes  Offloads
	pieces bool    // f is cut
	count  *uint64 // what out counts as, or nil
	size   int     // bytes of payload that out has of f; all, if it is not cut

	// Where the payload goes on that no piece had yet.
	at, off int
}

// Begin starts or continues with a frame for a port that takes these offloads, and
// frames of at most maxFrame bytes once all is done. It returns false if f, or its pieces, are
// longer. After that each frame that Next returns is to be sent; Sent says that it
// has been.
func (g *SoftwareGSO) Begin(f *Frame, takes Offloads, maxFrame int) bool {
	g.f, g.takes, g.pieces, g.count = f, takes, false, nil
	if f.Header.GSOType == GSONone {
		f.sent = 0 // it goes as a whole; what stands here may be of the frame before, which had the same place in the burst
		return f.Len <= maxFrame
	}
	if int(f.layout.End)+int(f.Header.GSOSize) > maxFrame {
		return false
	}
	need := f.Header.gsoOffloads(f.layout.IPv6) | OffloadCsum
	if g.pieces = need&^takes != 0 || f.sent > 0; g.pieces { // what was begun in pieces ends so
		g.at, g.off = skip(f.Data, int(f.layout.End)+f.sent)
	}
	return true
}

// Next returns what is to be sent next, valid until the next call, or nil if all of the
// frame was sent.
func (g *SoftwareGSO) Next(c *Counters) *Frame {
	f := g.f
	switch {
	case g.pieces:
		return g.piece(c)
	case f.sent >= f.Len:
		return nil
	}
	g.out = Frame{Header: f.Header, Data: f.Data, Len: f.Len}
	g.size = f.Len
	h := &g.out.Header
	switch {
	case h.Flags&FlagNeedsCsum == 0:
		if g.takes&OffloadDataValid == 0 {
			*h = Header{}
		}
	case g.takes&OffloadCsum == 0:
		g.views = append(append(g.views[:0], g.head[:copy(g.head[:], f.Data[0])]), f.Data[1:]...)
		g.out.Data = g.views
		g.complete()
		g.count = &c.Checksummed
	default:
		g.count = &c.Offloaded
	}
	return &g.out
}

// piece is Next for a frame that is cut.
func (g *SoftwareGSO) piece(c *Counters) *Frame {
	f := g.f
	l, size := f.layout, int(f.Header.GSOSize)
	total := f.Len - int(l.End)
	n := min(size, total-f.sent)
	if n <= 0 {
		return nil
	}
	head := packet.Segment(g.head[:], f.Data[0], l, f.sent/size, f.sent, n, total)
	g.views = append(g.views[:0], head)
	for at, off, left := g.at, g.off, n; left > 0; at, off = at+1, 0 {
		v := f.Data[at][off:]
		v = v[:min(left, len(v))]
		g.views = append(g.views, v)
		left -= len(v)
	}
	g.out = Frame{
		Header: Header{Flags: FlagNeedsCsum, CsumStart: f.Header.CsumStart, CsumOffset: f.Header.CsumOffset},
		Data:   g.views, Len: int(l.End) + n,
	}
	if g.takes&OffloadCsum == 0 {
		g.complete()
	}
	g.size, g.count = n, &c.Pieces
	return &g.out
}

// Sent says that what Next returned last is done with.
func (g *SoftwareGSO) Sent(c *Counters) {
	if g.count != nil {
		*g.count++
	}
	if g.pieces {
		if g.f.sent == 0 {
			c.Segmented++
		}
		g.at, g.off = advance(g.f.Data, g.at, g.off, g.size)
	}
	g.f.sent += g.size
}

// complete completes the checksum of out, whose first view is g.head.
func (g *SoftwareGSO) complete() {
	h, data := &g.out.Header, g.out.Data
	var s packet.Sum
	s.Add(data[0][h.CsumStart:])
	for _, v := range data[1:] {
		s.Add(v)
	}
	packet.Complete(data[0], int(h.CsumStart)+int(h.CsumOffset), &s)
	*h = Header{}
}

// skip is the place of byte n of data.
func skip(data [][]byte, n int) (at, off int) { return advance(data, 0, 0, n) }

// advance is the place n bytes after another one, which data has.
func advance(data [][]byte, at, off, n int) (newAt, newOff int) {
	for n += off; at < len(data) && n >= len(data[at]); at++ {
		n -= len(data[at])
	}
	return at, n
}
