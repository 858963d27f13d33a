package vring_test

import (
	"strings"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// attack is what a hostile driver does to a ring of 8 entries. at is a buffer of
// 256 bytes in its memory.
type attack struct {
	name     string
	want     vring.Fault
	direct   bool // INDIRECT_DESC was not negotiated
	play     func(p *vringtest.Pair, at mem.GPA)
	complete int // chains that come through before the attack
}

// offerChain offers a chain whose descriptors are in entries 0, 1, ...
func offerChain(p *vringtest.Pair, chain ...vring.Desc) {
	p.Raw.SetChain(chain...)
	p.Raw.Offer(0)
}

// offerTable offers an indirect table at address at.
func offerTable(p *vringtest.Pair, at mem.GPA, table ...vring.Desc) {
	b := make([]byte, len(table)*vring.DescSize)
	for i, d := range table {
		vringtest.PutDesc(b, i, d)
	}
	p.Write(at, b)
	offerChain(p, vring.Desc{Addr: uint64(at), Len: uint32(len(b)), Flags: indirect})
}

// loop is a chain of n descriptors of which the last goes on at 0.
func loop(at mem.GPA, n int) []vring.Desc {
	chain := make([]vring.Desc, n)
	for i := range chain {
		chain[i] = vring.Desc{Addr: uint64(at), Len: 1, Flags: next, Next: uint16((i + 1) % n)}
	}
	return chain
}

const nowhere = 0xdead_0000_0000

var attacks = []attack{
	{name: "avail.idx one too far", want: vring.FaultAvailIndex,
		play: func(p *vringtest.Pair, _ mem.GPA) { p.Raw.SetAvailIdx(p.Raw.AvailIdx() + 9) }},
	{name: "avail.idx goes back", want: vring.FaultAvailIndex,
		play: func(p *vringtest.Pair, _ mem.GPA) { p.Raw.SetAvailIdx(p.Raw.AvailIdx() - 1) }},
	{name: "avail.idx goes back after work", want: vring.FaultAvailIndex, complete: 3,
		play: func(p *vringtest.Pair, _ mem.GPA) { p.Raw.SetAvailIdx(p.Raw.AvailIdx() - 2) }},
	{name: "avail.idx half the space away", want: vring.FaultAvailIndex,
		play: func(p *vringtest.Pair, _ mem.GPA) { p.Raw.SetAvailIdx(p.Raw.AvailIdx() + 32768) }},

	{name: "head is the size", want: vring.FaultHead,
		play: func(p *vringtest.Pair, _ mem.GPA) { p.Raw.Offer(8) }},
	{name: "head is 65535", want: vring.FaultHead,
		play: func(p *vringtest.Pair, _ mem.GPA) { p.Raw.Offer(65535) }},
	{name: "a good chain, then a bad head", want: vring.FaultHead, complete: 1,
		play: func(p *vringtest.Pair, _ mem.GPA) { p.Raw.Offer(8) }},

	{name: "next is the size", want: vring.FaultNext,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 1, Flags: next, Next: 8})
		}},
	{name: "next is 65535", want: vring.FaultNext,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 1, Flags: next, Next: 65535})
		}},
	{name: "next leaves the indirect table", want: vring.FaultNext,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerTable(p, at, vring.Desc{Addr: uint64(at), Len: 1, Flags: next, Next: 2}, vring.Desc{})
		}},

	{name: "descriptor that follows itself", want: vring.FaultLoop,
		play: func(p *vringtest.Pair, at mem.GPA) { offerChain(p, loop(at, 1)...) }},
	{name: "loop of two", want: vring.FaultLoop,
		play: func(p *vringtest.Pair, at mem.GPA) { offerChain(p, loop(at, 2)...) }},
	{name: "loop of the whole ring", want: vring.FaultLoop,
		play: func(p *vringtest.Pair, at mem.GPA) { offerChain(p, loop(at, 8)...) }},
	{name: "loop of empty buffers", want: vring.FaultLoop,
		play: func(p *vringtest.Pair, _ mem.GPA) { offerChain(p, vring.Desc{Flags: next, Next: 0}) }},
	{name: "loop in an indirect table", want: vring.FaultLoop,
		play: func(p *vringtest.Pair, at mem.GPA) { offerTable(p, at, loop(at, 3)...) }},

	{name: "buffer outside memory", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, _ mem.GPA) { offerChain(p, vring.Desc{Addr: nowhere, Len: 1}) }},
	{name: "buffer at address 0", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, _ mem.GPA) { offerChain(p, vring.Desc{Addr: 0, Len: 1}) }},
	{name: "buffer runs out of memory", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, at mem.GPA) { offerChain(p, vring.Desc{Addr: uint64(at), Len: 0x7fff_ffff}) }},
	{name: "address that wraps around", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, _ mem.GPA) { offerChain(p, vring.Desc{Addr: ^uint64(0), Len: 2}) }},
	{name: "second buffer outside memory", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 1, Flags: next, Next: 1}, vring.Desc{Addr: nowhere, Len: 1, Flags: write})
		}},
	{name: "indirect table outside memory", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, _ mem.GPA) {
			offerChain(p, vring.Desc{Addr: nowhere, Len: 32, Flags: indirect})
		}},
	{name: "indirect table runs out of memory", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, _ mem.GPA) {
			last := p.Mem.Regions()[len(p.Mem.Regions())-1]
			offerChain(p, vring.Desc{Addr: uint64(last.GPA) + uint64(len(last.Mem)) - 16, Len: 32, Flags: indirect})
		}},
	{name: "indirect buffer outside memory", want: vring.FaultUnmapped,
		play: func(p *vringtest.Pair, at mem.GPA) { offerTable(p, at, vring.Desc{Addr: nowhere, Len: 1}) }},

	{name: "readable after writable", want: vring.FaultOrder,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 1, Flags: next | write, Next: 1}, vring.Desc{Addr: uint64(at), Len: 1})
		}},
	{name: "readable after an empty writable", want: vring.FaultOrder,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Flags: next | write, Next: 1}, vring.Desc{Addr: uint64(at), Len: 1})
		}},
	{name: "readable after writable in a table", want: vring.FaultOrder,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerTable(p, at, vring.Desc{Addr: uint64(at), Len: 1, Flags: next | write, Next: 1}, vring.Desc{Addr: uint64(at), Len: 1})
		}},
	{name: "readable in a table after a direct writable", want: vring.FaultOrder,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerTable(p, at, vring.Desc{Addr: uint64(at), Len: 1})
			table := vringtest.Desc(p.Raw.Table, 0)
			p.Raw.SetChain(vring.Desc{Addr: uint64(at), Len: 1, Flags: next | write, Next: 1}, table)
		}},

	{name: "indirect without the feature", want: vring.FaultIndirect, direct: true,
		play: func(p *vringtest.Pair, at mem.GPA) { offerTable(p, at, vring.Desc{Addr: uint64(at), Len: 1}) }},
	{name: "indirect with next", want: vring.FaultIndirectNext,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 16, Flags: indirect | next, Next: 1}, vring.Desc{Addr: uint64(at), Len: 1})
		}},
	{name: "table in a table", want: vring.FaultIndirectNest,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerTable(p, at, vring.Desc{Addr: uint64(at), Len: 16, Flags: indirect})
		}},
	{name: "empty table", want: vring.FaultIndirectSize,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 0, Flags: indirect})
		}},
	{name: "table of one and a half", want: vring.FaultIndirectSize,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 24, Flags: indirect})
		}},
	{name: "table too long", want: vring.FaultIndirectSize,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: (vring.MaxChain + 1) * vring.DescSize, Flags: indirect})
		}},
	{name: "table of 4 GiB", want: vring.FaultIndirectSize,
		play: func(p *vringtest.Pair, at mem.GPA) {
			offerChain(p, vring.Desc{Addr: uint64(at), Len: 0xffff_fff0, Flags: indirect})
		}},
}

// hostileStart lets attacks happen where the indices wrap. The race detector has
// nothing to see in one goroutine, and it makes the way there long.
func hostileStart() uint16 {
	if vring.RaceEnabled {
		return 0
	}
	return 65534
}

// Every attack stops the ring with its fault, and nothing happens on it from
// then on: no chain, no used element, no notification.
func TestHostileDriver(t *testing.T) {
	for _, a := range attacks {
		for _, eventIdx := range []bool{false, true} {
			t.Run(a.name, func(t *testing.T) {
				p := vringtest.NewPair(t, vringtest.Config{
					Size: 8, Indirect: !a.direct, EventIdx: eventIdx, Start: hostileStart(), HeapBytes: 8192,
				})
				at, _ := p.Alloc(256)
				var c vring.Chain
				for range a.complete {
					offerChain(p, vring.Desc{Addr: uint64(at), Len: 1})
					if p.Device.Available(); !p.Device.Pop(&c) {
						t.Fatal(p.Device.Err())
					}
					p.Device.Push(c.Head, 0)
					p.Device.Publish()
				}
				usedIdx := p.Raw.UsedIdx()
				a.play(p, at)
				if reads, writes := opsOf(p.Device); reads+writes != 0 {
					t.Errorf("%d and %d ops of what no one may offer", reads, writes)
				}
				c = vring.Chain{Head: 77}
				if p.Device.Available(); p.Device.Pop(&c) {
					t.Fatalf("popped %+v", c)
				}
				if c.Head != 77 || c.Read != nil || c.Write != nil {
					t.Errorf("a refused chain was written to the caller: %+v", c)
				}
				if got := p.Device.Err(); got != a.want {
					t.Fatalf("fault is %v, want %v", got, a.want)
				}
				if !strings.HasPrefix(a.want.Error(), "ring violation: ") {
					t.Errorf("fault reads %q", a.want.Error())
				}
				checkStopped(t, p, usedIdx)
			})
		}
	}
}

// Chains that came before the bad one stay good for the caller, but what was not
// published when the ring stopped never is; and taking them back revives nothing.
func TestFaultAfterGoodChains(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8})
	at, buf := p.Alloc(16)
	copy(buf, "good")
	p.Raw.SetChain(vring.Desc{Addr: uint64(at), Len: 4}, vring.Desc{Addr: nowhere, Len: 4})
	p.Raw.Offer(0)
	p.Raw.Offer(0)
	p.Raw.Offer(1)
	p.Raw.Offer(0)
	q := p.Device
	var good [2]vring.Chain
	if q.Available() != 4 || !q.Pop(&good[0]) || !q.Pop(&good[1]) {
		t.Fatal(q.Err())
	}
	q.Push(good[0].Head, 0)
	var c vring.Chain
	if q.Pop(&c) || q.Err() != vring.FaultUnmapped {
		t.Fatalf("fault is %v", q.Err())
	}
	checkChain(t, good[0], []byte("good"), 0, 1, 0)
	checkChain(t, good[1], []byte("good"), 0, 1, 0)
	q.Unpop(1)
	checkStopped(t, p, 0)
}
