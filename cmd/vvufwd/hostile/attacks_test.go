package hostile

import (
	"vvufwd/virtio"
	"vvufwd/virtio/vring"
)

// ringAttack breaks a rule of the ring. play writes into an idle ring; w is the
// write flag of buffers that belong there, or zero.
type ringAttack struct {
	name     string
	fault    vring.Fault
	play     func(r *ring, w uint16)
	features virtio.Features // negotiated, if not the default
}

// good is a buffer as it should be.
var good = desc{Addr: scratchGPA, Len: 2048}

// part is a buffer of n bytes somewhere.
func part(addr uint64, n uint32) desc { return desc{Addr: addr, Len: n} }

// link is d with a link to another descriptor.
func link(d desc, next, flags uint16) desc {
	d.Next, d.Flags = next, flags|vring.DescNext
	return d
}

// single offers a chain of these parts.
func single(parts ...desc) func(*ring, uint16) {
	return func(r *ring, w uint16) {
		r.chain(0, w, parts...)
		r.offer(0)
	}
}

// indirect offers a descriptor that refers to the ring's table as n bytes, with
// these parts in it and with further flags.
func indirect(n uint32, flags uint16, parts ...desc) func(*ring, uint16) {
	return func(r *ring, w uint16) {
		for i, d := range parts {
			if d.Flags&vring.DescIndirect == 0 {
				d.Flags |= w
			}
			r.setIndirect(i, d)
		}
		r.set(0, desc{Addr: r.table(), Len: n, Flags: vring.DescIndirect | flags, Next: 1})
		r.chain(1, w, good)
		r.offer(0)
	}
}

// ringAttacks are the rows of the attack table that concern the memory of rings.
var ringAttacks = []ringAttack{
	{name: "index one too far", fault: vring.FaultAvailIndex, play: func(r *ring, _ uint16) { r.show(r.avail + ringEntries + 1) }},
	{name: "index half way round", fault: vring.FaultAvailIndex, play: func(r *ring, _ uint16) { r.show(r.avail + 1<<15) }},
	{name: "index goes back", fault: vring.FaultAvailIndex, play: func(r *ring, _ uint16) { r.show(r.avail - 1) }},

	{name: "head just outside", fault: vring.FaultHead, play: func(r *ring, _ uint16) { r.offer(ringEntries) }},
	{name: "head far outside", fault: vring.FaultHead, play: func(r *ring, _ uint16) { r.offer(1<<16 - 1) }},
	{name: "next just outside", fault: vring.FaultNext, play: func(r *ring, w uint16) { r.set(0, link(good, ringEntries, w)); r.offer(0) }},
	{name: "next far outside", fault: vring.FaultNext, play: func(r *ring, w uint16) { r.set(0, link(good, 1<<16-1, w)); r.offer(0) }},
	{name: "loop of one", fault: vring.FaultLoop, play: func(r *ring, w uint16) { r.set(0, link(good, 0, w)); r.offer(0) }},
	{name: "loop of one empty", fault: vring.FaultLoop, play: func(r *ring, w uint16) { r.set(0, link(part(scratchGPA, 0), 0, w)); r.offer(0) }},
	{name: "loop of two", fault: vring.FaultLoop, play: func(r *ring, w uint16) {
		r.set(0, link(good, 1, w))
		r.set(1, link(good, 0, w))
		r.offer(0)
	}},

	{name: "table in a table", fault: vring.FaultIndirectNest, play: indirect(16, 0, desc{Addr: mainGPA + tableAt, Len: 16, Flags: vring.DescIndirect})},
	{name: "table in a table later", fault: vring.FaultIndirectNest, play: func(r *ring, w uint16) {
		indirect(32, 0, link(good, 1, 0), desc{Addr: r.table(), Len: 32, Flags: vring.DescIndirect})(r, w)
	}},
	{name: "table with next", fault: vring.FaultIndirectNext, play: indirect(16, vring.DescNext, good)},
	{name: "table of nothing", fault: vring.FaultIndirectSize, play: indirect(0, 0, good)},
	{name: "table of half a descriptor", fault: vring.FaultIndirectSize, play: indirect(8, 0, good)},
	{name: "table of odd size", fault: vring.FaultIndirectSize, play: indirect(16+1, 0, good)},
	{name: "table too long", fault: vring.FaultIndirectSize, play: indirect((vring.MaxChain+1)*vring.DescSize, 0, good)},
	{name: "table of four gigabytes", fault: vring.FaultIndirectSize, play: indirect(1<<32-vring.DescSize, 0, good)},
	{name: "table's next outside", fault: vring.FaultNext, play: indirect(32, 0, link(good, 2, 0), good)},
	{name: "table's loop", fault: vring.FaultLoop, play: indirect(32, 0, link(good, 1, 0), link(good, 0, 0))},
	{name: "table nowhere", fault: vring.FaultUnmapped, play: func(r *ring, _ uint16) {
		r.set(0, desc{Addr: 0x2000_0000, Len: 16, Flags: vring.DescIndirect})
		r.offer(0)
	}},
	{name: "table half outside", fault: vring.FaultUnmapped, play: func(r *ring, _ uint16) {
		r.set(0, desc{Addr: nextGPA + nextBytes - 16, Len: 32, Flags: vring.DescIndirect})
		r.offer(0)
	}},
	{name: "table without the feature", fault: vring.FaultIndirect, play: indirect(16, 0, good), features: defaultFeatures &^ virtio.IndirectDesc},

	{name: "four gigabytes altogether", fault: vring.FaultLength, play: single(part(vastGPA, vastBytes), part(vastGPA, vastBytes), part(vastGPA, vastBytes), part(vastGPA, vastBytes), good)},
	{name: "four gigabytes altogether in a table", fault: vring.FaultLength, play: func(r *ring, w uint16) {
		vast := part(vastGPA, vastBytes)
		indirect(5*vring.DescSize, 0, link(vast, 1, 0), link(vast, 2, 0), link(vast, 3, 0), link(vast, 4, 0), vast)(r, w)
	}},
	{name: "readable after writable", fault: vring.FaultOrder, play: func(r *ring, _ uint16) {
		r.set(0, link(good, 1, vring.DescWrite))
		r.set(1, good)
		r.offer(0)
	}},

	{name: "buffer nowhere", fault: vring.FaultUnmapped, play: single(part(0x2000_0000, 2048))},
	{name: "buffer begins before memory", fault: vring.FaultUnmapped, play: single(part(mainGPA-1, 2048))},
	{name: "buffer ends behind memory", fault: vring.FaultUnmapped, play: single(part(nextGPA+nextBytes-2047, 2048))},
	{name: "buffer begins behind memory", fault: vring.FaultUnmapped, play: single(part(nextGPA+nextBytes, 1))},
	{name: "second buffer nowhere", fault: vring.FaultUnmapped, play: single(part(scratchGPA, 100), part(0x2000_0000, 100))},
	{name: "buffer wraps around", fault: vring.FaultUnmapped, play: single(part(1<<64-100, 2048))},
	{name: "buffer at the last address", fault: vring.FaultUnmapped, play: single(part(1<<64-1, 2048))},
	{name: "buffer wraps around from memory", fault: vring.FaultUnmapped, play: single(part(topGPA+topBytes-100, 0x2_0000))},
	{name: "buffer of four gigabytes", fault: vring.FaultUnmapped, play: single(part(mainGPA, 1<<32-1))},
	{name: "buffer at a user address", fault: vring.FaultUnmapped, play: single(part(mainUVA, 2048))},
}
