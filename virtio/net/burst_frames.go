package virtionet

import "vvufwd/virtio/net/packet"

// frames is a burst in general, and what looking at it takes.
type frames struct {
	list  [MaxBurst]Frame
	views [MaxBurst][3][]byte // Data of frames that are plain, or have other addresses
	more  [][]byte            // Data of frames in more pieces
}

// others is where a burst in general is.
func (b *Burst) others() *frames {
	if b.rest == nil {
		b.rest = &frames{}
	}
	return b.rest
}

// General makes b a burst of Frames, MaxBurst of them, which the port fills in and truncates to
// as many as it has.
func (b *Burst) General() []Frame {
	b.Fill(MaxBurst)
	b.general = true
	r := b.others()
	r.more = r.more[:0]
	return r.list[:]
}

// Frames describes frames first to end-1 in general. Whoever transmits them may change what
// they are in: their headers, and how much of each is sent. A plain frame is described anew
// each time, and by this call not counted as one that was copied as such.
func (b *Burst) Frames(first, end int) []Frame {
	r := b.others()
	if !b.general {
		r.more = r.more[:0]
		for i := first; i < end; i++ {
			b.describe(i, r)
			from, k := b.at(i)
			from.slow |= 1 << k
		}
	}
	return r.list[first:end]
}

// describe makes a Frame of plain frame i.
func (b *Burst) describe(i int, r *frames) {
	from, k := b.at(i)
	op, bit, f := &b.Ops[i], uint64(1)<<i, &r.list[i]
	*f = Frame{Len: int(op.N), sent: b.sent(i)}
	b.known |= bit
	if b.undone&bit != 0 {
		s := &from.starts[k]
		f.Header, f.layout = s.header, s.layout
	}
	if b.valid&bit != 0 {
		f.Header.Flags |= FlagDataValid
	}
	if b.spread&bit != 0 {
		first := len(r.more)
		for _, p := range from.From.Of(k) {
			r.more = append(r.more, view(p.Addr, p.N)) // grows to what bursts take, then no more
		}
		f.Data = r.more[first:len(r.more):len(r.more)]
	} else {
		f.Data = append(r.views[i][:0], view(op.Src, op.N))
	}
	if start := b.start(i); start != nil && b.spread&bit != 0 {
		r.more = f.ReplaceStart(start, r.more)
	} else if start != nil {
		f.Data = append(r.views[i][:0], start, view(op.Src, op.N)[len(start):])
	}
}

// Head copies the first bytes of frame i and returns how many: all of head, at most
// packet.MaxHead bytes, or of the frame.
func (b *Burst) Head(i int, head []byte) (n int) {
	switch {
	case b.general:
		n, _, _ = CopyViews(head, b.rest.list[i].Data, 0, 0)
		return n
	case b.undone>>i&1 != 0: // what was checked of it, more of which than anybody asks for is ours
		from, k := b.at(i)
		return copy(head, from.starts[k].head[:min(int(b.Ops[i].N), packet.MaxHead)])
	}
	return b.gather(i, head)
}

// FrameLen is how many bytes frame i has.
func (b *Burst) FrameLen(i int) int {
	if b.general {
		return b.rest.list[i].Len
	}
	return int(b.Ops[i].N)
}

// CopyFrame copies the first bytes of frame i as it came, whatever was left undone in it, and returns how many: all
// of to, or of the frame. It is for those who watch: what it copies is in no way checked.
func (b *Burst) CopyFrame(i int, to []byte) (n int) {
	if b.general {
		n, _, _ = CopyViews(to, b.rest.list[i].Data, 0, 0)
		return n
	}
	return b.gather(i, to)
}

// ReadAddresses reads the addresses of all frames, each byte once. With fix these are what goes
// out: the frames' sender could change them in its own memory after the look.
func (b *Burst) ReadAddresses(fix bool) {
	if !b.general {
		b.Prefetch()
		b.loadAddresses()
		if fix {
			b.renamed = span{0, b.n}.bits()
		}
		return
	}
	r := b.rest
	for i := range r.list[:b.n] {
		f, to := &r.list[i], b.names[i].bytes()
		CopyViews(to, f.Data, 0, 0)
		switch {
		case !fix || f.Own(): // that one's are ours
		case len(f.Data) == 1:
			f.Data = append(r.views[i][:0], to, f.Data[0][AddressBytes:])
		default:
			r.more = f.ReplaceStart(to, r.more)
		}
	}
}

// Addresses are those of frame i that ReadAddresses has read.
func (b *Burst) Addresses(i int) Addresses { return b.names[i] }

// Pick makes b those frames of another burst that which lists, in that order. It is to be
// transmitted only, and from must stay as it is meanwhile; from is what is released. A burst
// that was picked itself cannot be picked from.
func (b *Burst) Pick(from *Burst, which []uint8) {
	b.Fill(len(which))
	b.spread = 0
	b.origin = from
	copy(b.order[:], which)
	if b.general = from.general; b.general {
		r := b.others()
		for k, i := range which {
			r.list[k] = from.rest.list[i]
		}
		return
	}
	ops := b.Ops[:len(which)]
	for k := range ops {
		ops[k] = from.Ops[which[k]&(MaxBurst-1)]
	}
	if from.spread|from.undone|from.valid|from.renamed == 0 {
		return
	}
	for k, i := range which {
		b.spread |= from.spread >> i & 1 << k
		b.undone |= from.undone >> i & 1 << k
		b.gso |= from.gso >> i & 1 << k
		b.valid |= from.valid >> i & 1 << k
		b.renamed |= from.renamed >> i & 1 << k
		if from.known>>i&1 != 0 {
			b.setSent(k, from.sent(int(i)))
		}
	}
}

// PutBack gives the burst from which b was picked what has changed since of frames k and on: how
// much of each has been sent.
func (b *Burst) PutBack(k int) {
	if b.origin == nil {
		return
	}
	for ; k < b.n; k++ {
		if b.general {
			b.origin.rest.list[b.order[k]] = b.rest.list[k]
		} else if b.known>>k&1 != 0 {
			b.origin.setSent(int(b.order[k]), b.sent(k))
		}
	}
}

// Index is which frame i of b is in the burst as it was received.
func (b *Burst) Index(i int) int {
	_, k := b.at(i)
	return k
}

// Begun reports whether some of frame i has been sent, in pieces, and the rest not.
func (b *Burst) Begun(i int) bool {
	return b.general && b.rest.list[i].begun() || b.gso>>i&1 != 0 && b.sent(i) > 0
}

// sent is how much of plain frame i was sent, in pieces.
func (b *Burst) sent(i int) int {
	if b.known>>i&1 == 0 {
		return 0
	}
	return b.rest.list[i].sent
}

// setSent says so.
func (b *Burst) setSent(i, n int) {
	b.known |= 1 << i
	b.others().list[i].sent = n
}
