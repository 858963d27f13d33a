package vring_test

import (
	"testing"
	"unsafe"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// fuzzConfig makes a small ring out of a byte, so that random numbers are often
// in range.
func fuzzConfig(b byte) vringtest.Config {
	return vringtest.Config{
		Size:      1 << (b & 7 % 6),
		EventIdx:  b&8 != 0,
		Indirect:  b&16 != 0,
		InOrder:   b&32 != 0,
		ReadOnly:  b&64 != 0,
		RingBase:  0x1000, // low, so that a few random bytes make an address
		HeapBase:  0x10000,
		HeapBytes: 0x3000,
		Regions:   3,
	}
}

// smear fills dst with src over and over.
func smear(dst, src []byte) {
	for len(src) > 0 && len(dst) > 0 {
		dst = dst[copy(dst, src):]
	}
}

// A guest writes anything anywhere into its ring at any time. program is read
// four bytes a step: what to do, a place, a value.
func FuzzDeviceRing(f *testing.F) {
	f.Fuzz(func(t *testing.T, cfg byte, start uint16, memory, program []byte) {
		c := fuzzConfig(cfg)
		p := vringtest.NewPair(t, c)
		// The driver side takes no part; its indices stay where they are.
		p.DeviceConfig.NextAvail = start
		p.Raw.SetUsedIdx(start)
		var err error
		if p.Device, err = vring.NewDevice(p.DeviceConfig); err != nil {
			t.Fatal(err)
		}
		p.Raw.SetAvailIdx(start)
		smear(p.Raw.Table, memory)
		smear(p.Raw.Avail[4:], memory)
		for _, r := range p.Mem.Regions()[1:] {
			smear(r.Mem, memory) // indirect tables
		}
		d := drainer{t: t, p: p, usedIdx: start}
		for ; len(program) >= 4; program = program[4:] {
			place, v := int(program[1]), uint16(program[2])|uint16(program[3])<<8
			switch program[0] % 9 {
			case 0: // a plausible burst
				p.Raw.SetAvailIdx(p.Raw.AvailIdx() + v%uint16(2*c.Size))
				d.drain()
			case 1:
				p.Raw.SetAvailIdx(v)
				if place&1 != 0 {
					d.ops(place >> 1)
				}
				d.drain()
			case 2:
				p.Raw.SetAvail(uint16(place), v)
			case 3: // half a field of a descriptor
				b := p.Raw.Table[place*2%len(p.Raw.Table):]
				b[0], b[1] = byte(v), byte(v>>8)
			case 4: // a descriptor that means something
				flags := v & 7
				vringtest.PutDesc(p.Raw.Table, place%c.Size, vring.Desc{
					Addr: 0x10000 + uint64(v&0x3fff), Len: uint32(program[0]) * 16, Flags: flags, Next: v >> 3 % uint16(2*c.Size),
				})
			case 5:
				p.Raw.SetUsedEvent(v)
				p.Raw.SetAvailFlags(v >> 8)
			case 6:
				p.Raw.SetUsedIdx(v) // the guest's memory, but not the guest's to write
				d.usedIdx = v
			case 7:
				d.arm()
			case 8: // an indirect table entry
				r := p.Mem.Regions()[1+place%3].Mem
				b := r[place*2%len(r):]
				b[0], b[1] = byte(v), byte(v>>8)
			}
		}
		d.drain()
	})
}

// drainer serves a hostile ring and checks what a caller relies on.
type drainer struct {
	t       *testing.T
	p       *vringtest.Pair
	usedIdx uint16 // what memory says while nothing is published
	fault   error
}

// drain takes everything that is available.
func (d *drainer) drain() {
	q := d.p.Device
	n := q.Available()
	if n > q.Size() {
		d.t.Fatalf("%d chains in a ring of %d", n, q.Size())
	}
	if d.fault != nil && n != 0 {
		d.t.Fatalf("%d chains after %v", n, d.fault)
	}
	popped := 0
	var c vring.Chain
	for q.Pop(&c) {
		if popped++; popped > n {
			d.t.Fatalf("popped %d chains of %d", popped, n)
		}
		d.chain(&c)
		if q.Exhausted() {
			q.ResetViews() // the next chain opens another burst
		}
		if popped%5 == 4 {
			q.Unpop(1)
			popped--
			if !q.Pop(&c) && q.Err() == nil {
				d.t.Fatal("a chain that was taken back is gone")
			}
			popped++
		}
		if q.Err() == nil {
			q.Push(c.Head, c.WriteLen)
		}
	}
	if q.Err() == nil && popped != n {
		d.t.Fatalf("popped %d of %d chains without a fault", popped, n)
	}
	before := d.p.Raw.UsedIdx()
	switch published := q.Publish(); {
	case q.Err() != nil && (published || d.p.Raw.UsedIdx() != before):
		d.t.Fatalf("published after %v", q.Err())
	case published != (q.Err() == nil && popped > 0):
		d.t.Fatalf("published %v after %d chains", published, popped)
	}
	q.NeedSignal()
	q.ResetViews()
	if d.fault != nil && q.Err() != d.fault {
		d.t.Fatalf("fault %v became %v", d.fault, q.Err())
	}
	d.fault = q.Err()
}

// ops serves what is plain, if nothing is held: every other call some of what is to be
// read, else of what is to be written. Everything named lies in the guest's memory.
func (d *drainer) ops(choice int) {
	q := d.p.Device
	if q.Err() != nil {
		return
	}
	var ops [vring.MaxOps]vring.Op
	before := q.Position()
	var spread vring.Spread
	if choice&1 != 0 {
		for i := range ops {
			ops[i].N = uint32(choice * i % 97)
		}
		w := vring.Writing{Head: 12, Most: 80, Mergeable: choice&2 != 0, Long: uint64(choice) * 0x0101_0101_0101_0101}
		n, _ := q.WriteOps(ops[:1+choice%vring.MaxOps], &w)
		buffers := 0
		for i := range ops[:n] {
			op, room := &ops[i], uint32(0)
			for _, piece := range placesOf(op, &w.Spread, i, w.Head) {
				if !d.inMemory(at(piece.Addr, piece.N)) {
					d.t.Fatalf("op %d writes %d bytes outside the guest's memory", i, piece.N)
				}
				clear(at(piece.Addr, piece.N)) // over the ring, perhaps
				if room += piece.N; piece.End {
					buffers++
				}
			}
			if room != 12+op.N || op.N > 80 && w.Long>>i&1 == 0 {
				d.t.Fatalf("op %d of %d bytes has room for %d", i, op.N, room)
			}
		}
		if buffers > q.Size() {
			d.t.Fatalf("%d buffers of a ring of %d", buffers, q.Size())
		}
		q.CompleteWrites(ops[:n], &w)
		return
	}
	n := q.ReadOps(&ops, &spread, 12, 14, 2000)
	for i := range ops[:n] {
		op := &ops[i]
		ok, total := d.inMemory(at(op.Dst, 12)) && op.N >= 14 && op.N <= 2000, op.N
		if spread.Set()>>i&1 != 0 {
			total = 0
			for _, piece := range spread.Of(i) {
				ok = ok && d.inMemory(at(piece.Addr, piece.N))
				total += piece.N
			}
		} else {
			ok = ok && d.inMemory(at(op.Src, op.N))
		}
		if !ok || total != op.N {
			d.t.Fatalf("op %d of %+v is not in the guest's memory", i, op)
		}
	}
	if n > q.Size() {
		d.t.Fatalf("%d ops in a ring of %d", n, q.Size())
	}
	if q.CompleteReads(ops[:n]); n == 0 && q.Position() != before {
		d.t.Fatalf("no op moved the ring from %#x to %#x", before, q.Position())
	}
}

// arm goes through the motions of going to sleep.
func (d *drainer) arm() {
	q := d.p.Device
	q.DisableKicks()
	if waiting := q.EnableKicks(); waiting != (q.Pending() > 0) || waiting && q.Err() != nil {
		d.t.Fatalf("EnableKicks says %v with %d pending, fault %v", waiting, q.Pending(), q.Err())
	}
	d.fault = q.Err()
}

// chain checks that a chain is what a caller may rely on and uses all of it.
func (d *drainer) chain(c *vring.Chain) {
	if int(c.Head) >= d.p.Device.Size() {
		d.t.Fatalf("head %d in a ring of %d", c.Head, d.p.Device.Size())
	}
	regions := len(d.p.Mem.Regions())
	most := (min(d.p.Device.Size(), vring.MaxChain) + vring.MaxChain) * regions // direct ones, then a table
	if n := len(c.Read) + len(c.Write); n > most {
		d.t.Fatalf("chain of %d views, at most %d are possible", n, most)
	}
	for _, side := range []struct {
		views [][]byte
		want  uint32
	}{{c.Read, c.ReadLen}, {c.Write, c.WriteLen}} {
		total := uint32(0)
		for _, v := range side.views {
			if !d.inMemory(v) {
				d.t.Fatalf("view of %d bytes outside the guest's memory", len(v))
			}
			total += uint32(len(v))
		}
		if total != side.want {
			d.t.Fatalf("views of %d bytes, chain says %d", total, side.want)
		}
	}
}

// inMemory reports whether a view lies in one region with all its capacity.
func (d *drainer) inMemory(v []byte) bool {
	if len(v) == 0 {
		return false
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(v)))
	for _, r := range d.p.Mem.Regions() {
		base := uintptr(unsafe.Pointer(unsafe.SliceData(r.Mem)))
		if start >= base && start+uintptr(cap(v)) <= base+uintptr(len(r.Mem)) {
			return true
		}
	}
	return false
}
