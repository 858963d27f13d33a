package virtionet

import (
	"math/bits"
	"unsafe"

	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/vring"
)

// Copy writes plain frames first to end-1, each after a new header, where Transmit has found
// places for them. It is the one place where guests' memory is read and written for
// plain frames. If some of that has vanished it panics (debug.SetPanicOnFault), and as
// far as the rings are concerned nothing has happened.
func (b *Burst) Copy(first, end int) {
	total := uint64(0)
	special := (b.spread | b.placed | b.undone | b.valid) & span{first, end}.bits()
	for i := first; i < end; {
		run := min(end, i+bits.TrailingZeros64(special>>i)) // up to the next special one
		total += vring.CopyOps(b.Ops[i:run], b.head, b.numBuffers)
		if i = run; i < end {
			total += uint64(b.Ops[i].N)
			b.copySpecial(i, pointer(b.Ops[i].Dst))
			i++
		}
	}
	b.copied, b.bytes = span{first, end}, int(total)
	if b.renamed != 0 {
		b.rename(first, end)
	}
}

// copySpecial is Copy for a frame in several pieces or places, or with something in its
// header.
func (b *Burst) copySpecial(i int, to unsafe.Pointer) {
	from, k := b.at(i)
	op, bit := &b.Ops[i], uint64(1)<<i
	header := Header{}
	if b.valid&bit != 0 && b.takesValid {
		header.Flags = FlagDataValid
	}
	undone := b.undone&bit != 0
	if undone && b.takesCsum {
		header = from.starts[k].header
	}
	header.NumBuffers = uint16(b.numBuffers >> 16)
	if b.placed&bit != 0 {
		b.scatter(i, &header)
		return
	}
	header.Put((*[HeaderLen]byte)(to)) // the frame overwrites what a shorter header has not
	frame := view(op.Dst+uint64(b.head), op.N)
	b.gather(i, frame)
	if !undone {
		return
	}
	s := &from.starts[k]
	copy(frame, s.head[:s.keep])
	if !b.takesCsum {
		// Of what is where it goes by now: if its receiver changes that, the sum is wrong.
		var sum packet.Sum
		sum.Add(frame[s.header.CsumStart:])
		packet.Complete(frame, int(s.header.CsumStart)+int(s.header.CsumOffset), &sum)
	}
}

// scatter is Copy for a frame that has several places. What was checked of it, or set, goes
// before the rest, so that no place is written twice.
func (b *Burst) scatter(i int, header *Header) {
	from, k := b.at(i)
	places := places{left: b.To.Spread.Of(i - b.base)}
	if header.NumBuffers != 0 {
		header.NumBuffers = 0
		for _, p := range places.left {
			if p.End {
				header.NumBuffers++
			}
		}
	}
	var raw [HeaderLen]byte
	header.Put(&raw)
	places.put(raw[:b.head])
	start := b.start(i)
	places.put(start)
	skip := uint32(len(start))
	if b.spread>>i&1 == 0 {
		places.put(view(b.Ops[i].Src, b.Ops[i].N)[skip:])
		return
	}
	for _, p := range from.From.Of(k) {
		before := min(skip, p.N)
		skip -= before
		places.put(view(p.Addr, p.N)[before:])
	}
}

// start is what goes out in place of the first bytes of plain frame i: what was checked of it,
// or the addresses that were set. What was checked of it has those.
func (b *Burst) start(i int) []byte {
	from, k := b.at(i)
	switch {
	case b.undone>>i&1 != 0:
		s := &from.starts[k]
		return s.head[:s.keep]
	case b.renamed>>i&1 != 0:
		return from.names[k].bytes()
	}
	return nil
}

// places are where the rest of a frame goes.
type places struct {
	left []vring.Piece
	done uint32 // bytes of left[0]
}

// put fills the next len(b) bytes, which there are.
func (p *places) put(b []byte) {
	for len(b) > 0 {
		place := &p.left[0]
		n := copy(view(place.Addr+uint64(p.done), place.N-p.done), b)
		b = b[n:]
		if p.done += uint32(n); p.done == place.N {
			p.left, p.done = p.left[1:], 0
		}
	}
}

// rename writes the addresses that were set over those that were copied. Only the
// receiver, in whose memory this is, could see anything else meanwhile.
func (b *Burst) rename(first, end int) {
	for i := first; i < end; i++ {
		if (b.renamed&^b.placed)>>i&1 != 0 {
			from, k := b.at(i)
			to := unsafe.Add(pointer(b.Ops[i].Dst), b.head)
			*(*uint64)(to), *(*uint32)(unsafe.Add(to, 8)) = from.names[k].low, from.names[k].high
		}
	}
}

// loadAddresses is ReadAddresses for plain frames.
func (b *Burst) loadAddresses() {
	special := b.spread | b.undone
	ops := b.Ops[:b.n]
	for i := range ops {
		at := pointer(ops[i].Src)
		if special>>i&1 != 0 {
			b.Head(i, b.names[i].bytes())
			continue
		}
		b.names[i] = Addresses{*(*uint64)(at), *(*uint32)(unsafe.Add(at, 8))}
	}
}

// bytes are the addresses as they lie in a frame, on machines with the lowest byte first.
func (a *Addresses) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(a)), AddressBytes)
}

// gather copies the first bytes of plain frame i and returns how many: all of head, or of the
// frame.
func (b *Burst) gather(i int, head []byte) (n int) {
	if b.spread>>i&1 == 0 {
		return copy(head, view(b.Ops[i].Src, b.Ops[i].N))
	}
	from, k := b.at(i)
	for _, p := range from.From.Of(k) {
		if n += copy(head[n:], view(p.Addr, p.N)); n == len(head) {
			break
		}
	}
	return n
}

// pointer makes a pointer of an address that a ring has checked to lie in the memory of
// its guest, or that is of a DMA buffer. Neither is memory that Go moves or frees.
func pointer(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// view is n bytes there.
func view(addr uint64, n uint32) []byte { return unsafe.Slice((*byte)(pointer(addr)), n) }

// load64, load32 and load16 read bytes there.
func load64(addr uint64) uint64 { return *(*uint64)(pointer(addr)) }
func load32(addr uint64) uint32 { return *(*uint32)(pointer(addr)) }
func load16(addr uint64) uint16 { return *(*uint16)(pointer(addr)) }

// AddressOf is where a buffer lies, which must be of DMA memory or of a guest's: Go neither moves
// nor frees that.
func AddressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
