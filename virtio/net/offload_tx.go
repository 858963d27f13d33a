package virtionet

import "vvufwd/virtio/net/packet"

// finisher makes of a frame with offloads what a port can take: the frame itself, or
// the frame with its checksum completed, or the pieces of it, one after the other. How
// far a frame has come is kept in the frame, so that it can wait for room in its middle.
// It belongs to a port.
//
// The frame is not changed, other than in that: it may have to go to other ports too.
type finisher struct {
	out   Frame // what to send next, valid until the next call
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

// begin starts or continues with a frame for a port that takes these offloads, and
// frames of at most maxFrame bytes once all is done. It returns false if f's pieces are
// longer. Each next that returns true leaves something to send in out; sent says that it
// has been.
func (fin *finisher) begin(f *Frame, takes Offloads, maxFrame int) bool {
	fin.f, fin.takes, fin.pieces, fin.count = f, takes, false, nil
	if f.Header.GSOType == gsoNone {
		return true // its length is the port's business
	}
	if int(f.layout.End)+int(f.Header.GSOSize) > maxFrame {
		return false
	}
	need := f.Header.gsoOffloads(f.layout.IPv6) | OffloadCsum
	if fin.pieces = need&^takes != 0 || f.sent > 0; fin.pieces { // what was begun in pieces ends so
		fin.at, fin.off = skip(f.Data, int(f.layout.End)+f.sent)
	}
	return true
}

// next prepares what is to be sent next, or returns false if all of the frame was.
func (fin *finisher) next(c *Counters) bool {
	f := fin.f
	switch {
	case fin.pieces:
		return fin.piece(c)
	case f.sent >= f.Len:
		return false
	}
	fin.out = Frame{Header: f.Header, Data: f.Data, Len: f.Len}
	fin.size = f.Len
	h := &fin.out.Header
	switch {
	case h.Flags&flagNeedsCsum == 0:
		if fin.takes&OffloadDataValid == 0 {
			*h = Header{}
		}
	case fin.takes&OffloadCsum == 0:
		fin.views = append(append(fin.views[:0], fin.head[:copy(fin.head[:], f.Data[0])]), f.Data[1:]...)
		fin.out.Data = fin.views
		fin.complete()
		fin.count = &c.Checksummed
	default:
		fin.count = &c.Offloaded
	}
	return true
}

// piece prepares the next piece of a frame that is cut.
func (fin *finisher) piece(c *Counters) bool {
	f := fin.f
	l, size := f.layout, int(f.Header.GSOSize)
	total := f.Len - int(l.End)
	n := min(size, total-f.sent)
	if n <= 0 {
		return false
	}
	head := packet.Segment(fin.head[:], f.Data[0], l, f.sent/size, f.sent, n, total)
	fin.views = append(fin.views[:0], head)
	for at, off, left := fin.at, fin.off, n; left > 0; at, off = at+1, 0 {
		v := f.Data[at][off:]
		v = v[:min(left, len(v))]
		fin.views = append(fin.views, v)
		left -= len(v)
	}
	fin.out = Frame{
		Header: Header{Flags: flagNeedsCsum, CsumStart: f.Header.CsumStart, CsumOffset: f.Header.CsumOffset},
		Data:   fin.views, Len: int(l.End) + n,
	}
	if fin.takes&OffloadCsum == 0 {
		fin.complete()
	}
	fin.size, fin.count = n, &c.Pieces
	return true
}

// sent says that out is done with.
func (fin *finisher) sent(c *Counters) {
	if fin.count != nil {
		*fin.count++
	}
	if fin.pieces {
		if fin.f.sent == 0 {
			c.Segmented++
		}
		fin.at, fin.off = advance(fin.f.Data, fin.at, fin.off, fin.size)
	}
	fin.f.sent += fin.size
}

// complete completes the checksum of out, whose first view is fin.head.
func (fin *finisher) complete() {
	h, data := &fin.out.Header, fin.out.Data
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

// advance is the place n bytes behind another one, which data has.
func advance(data [][]byte, at, off, n int) (newAt, newOff int) {
	for n += off; at < len(data) && n >= len(data[at]); at++ {
		n -= len(data[at])
	}
	return at, n
}
