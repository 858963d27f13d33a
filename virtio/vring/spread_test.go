package vring_test

import (
	"bytes"
	"slices"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// layouts are how drivers lay a frame or the room for one out, by the sizes of its parts.
var layouts = map[string][]int{
	"header and data together":                   {12 + 1500},
	"header and data apart":                      {12, 1500},
	"headers with the header, and a piece":       {12 + 66, 1448},
	"headers with the header, and 17 fragments":  append([]int{12 + 66}, slices.Repeat([]int{3855}, 17)...),
	"a header, headers and 17 fragments":         append([]int{12, 66}, slices.Repeat([]int{3855}, 17)...),
	"a header, and pages as for large segments":  append([]int{12, 4084}, slices.Repeat([]int{4096}, 16)...),
	"a byte, then another, and so on":            append([]int{12}, slices.Repeat([]int{1}, 40)...),
	"as many descriptors as a buffer may have":   append([]int{14}, slices.Repeat([]int{900}, 63)...),
	"the header's last byte begins a descriptor": {12, 1, 60},
}

// spreadPair is a ring whose driver has tables for the longest buffers, or none.
func spreadPair(t *testing.T, packed, indirect bool) *vringtest.Pair {
	return vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 128, Indirect: indirect, IndirectParts: 64, HeapBytes: 4 << 20, Regions: 1})
}

// Buffers as drivers lay them out are plain in both directions: indirect ones in both
// formats, chains in split rings.
func TestLayoutsArePlain(t *testing.T) {
	for name, sizes := range layouts {
		for _, c := range []struct{ packed, indirect bool }{{false, false}, {false, true}, {true, true}} {
			p := spreadPair(t, c.packed, c.indirect)
			var content []byte
			var parts []vring.Part
			for i, n := range sizes {
				addr, b := p.Alloc(n)
				for k := range b {
					b[k] = byte(i + k*7)
				}
				content = append(content, b...)
				parts = append(parts, vringtest.Part(addr, n))
			}
			if _, err := p.Driver.Add(parts, nil); err != nil {
				t.Fatal(err)
			}
			p.Driver.Publish()
			var ops [vring.MaxOps]vring.Op
			var s vring.Spread
			if n := p.Device.ReadOps(&ops, &s, 12, 14, 1<<17); n != 1 {
				t.Fatalf("%s, %+v: %d ops", name, c, n)
			}
			got := bytes.Clone(at(ops[0].Dst, 12))
			if s.Set() == 0 {
				got = append(got, at(ops[0].Src, ops[0].N)...)
			} else {
				for _, piece := range s.Of(0) {
					got = append(got, at(piece.Addr, piece.N)...)
				}
			}
			if !bytes.Equal(got, content) || int(ops[0].N) != len(content)-12 {
				t.Errorf("%s, %+v: the op is another frame, of %d bytes", name, c, ops[0].N)
			}
			p.Device.CompleteReads(ops[:1])

			if _, err := p.Driver.Add(nil, parts); err != nil {
				t.Fatal(err)
			}
			p.Driver.Publish()
			w := vring.Writing{Head: 12, Most: 1 << 17}
			ops[0] = vring.Op{N: uint32(len(content) - 12 - 1)}
			if n, _ := p.Device.WriteOps(ops[:1], &w); n != 1 {
				t.Fatalf("%s, %+v: %d places", name, c, n)
			}
			room := uint32(0)
			for _, piece := range placesOf(&ops[0], &w.Spread, 0, 12) {
				clear(at(piece.Addr, piece.N))
				room += piece.N
			}
			var now []byte
			for _, part := range parts {
				now = append(now, p.Read(mem.GPA(part.Addr), int(part.Len))...)
			}
			if last := len(now) - 1; !bytes.Equal(now[:last], make([]byte, last)) || now[last] != content[last] {
				t.Errorf("%s, %+v: what was written is not all but the last byte", name, c)
			}
			p.Device.CompleteWrites(ops[:1], &w)
			var u vring.Used
			for k := 0; p.Driver.Completed() > 0 && p.Driver.Take(&u); k++ {
				if want := uint32(k * (len(content) - 1)); u.Len != want {
					t.Errorf("%s, %+v: completion %d of %d bytes, want %d", name, c, k, u.Len, want)
				}
			}
			if room != uint32(len(content)-1) || p.Driver.Outstanding() != 0 {
				t.Errorf("%s, %+v: %d bytes of room, %d outstanding", name, c, room, p.Driver.Outstanding())
			}
		}
	}
}

// A frame may take all buffers of the ring; it waits for more while there are not enough,
// and what all together do not hold is not waited for.
func TestMergedBuffers(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		const size, each = 8, 100
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: size})
		w := vring.Writing{Head: 12, Most: 2000, Mergeable: true}
		for round := range 3 * size {
			for k := range size {
				ops := []vring.Op{{N: size*each - 12}}
				if n, wait := p.Device.WriteOps(ops, &w); n != 0 || !wait {
					t.Fatalf("round %d: %d places in %d buffers, waits %v", round, n, k, wait)
				}
				addr, _ := p.Alloc(each)
				if _, err := p.Driver.Add(nil, []vring.Part{vringtest.Part(addr, each)}); err != nil {
					t.Fatal(err)
				}
				p.Driver.Publish()
			}
			ops := []vring.Op{{N: size*each - 12 + 1}}
			if n, wait := p.Device.WriteOps(ops, &w); n != 0 || wait {
				t.Fatalf("round %d: %d places for more than there can be, waits %v", round, n, wait)
			}
			// Two frames: of 3 buffers, the last not filled, and of all that is left.
			ops = []vring.Op{{N: 2*each + 1}, {N: (size-3)*each - 12}, {N: 14}}
			if n, wait := p.Device.WriteOps(ops, &w); n != 2 || wait && packed {
				t.Fatalf("round %d: %d places, want 2", round, n)
			}
			p.Device.CompleteWrites(ops[:2], &w)
			var got []uint32
			var u vring.Used
			for p.Driver.Completed() > 0 && p.Driver.Take(&u) {
				got = append(got, u.Len)
			}
			want := append([]uint32{100, 100, 13}, slices.Repeat([]uint32{100}, size-3)...)
			if !slices.Equal(got, want) {
				t.Fatalf("round %d: completed with %v bytes, want %v", round, got, want)
			}
		}
	})
}

// A burst has so many pieces and no more; what comes after them has its turn later.
func TestPiecesAreBounded(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 64, Indirect: true, IndirectParts: 64})
		addr, _ := p.Alloc(100)
		parts := append([]vring.Part{vringtest.Part(addr, 12)}, slices.Repeat([]vring.Part{vringtest.Part(addr, 100)}, 63)...)
		for range 20 {
			if _, err := p.Driver.Add(parts, nil); err != nil {
				t.Fatal(err)
			}
		}
		p.Driver.Publish()
		var ops [vring.MaxOps]vring.Op
		var s vring.Spread
		served := 0
		for served < 20 {
			n := p.Device.ReadOps(&ops, &s, 12, 14, 65553)
			if n == 0 || n > vring.MaxPieces/63 {
				t.Fatalf("%d ops after %d", n, served)
			}
			p.Device.CompleteReads(ops[:n])
			served += n
		}
	})
}

// Of a burst some frames take one buffer and others several, and each is completed by as many
// bytes as it has there. A frame that is longer than may be ends it, unless it is to be cut by whoever
// takes it.
func TestMixedPlaces(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8})
		for range 6 {
			addr, _ := p.Alloc(100)
			if _, err := p.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 100)}); err != nil {
				t.Fatal(err)
			}
		}
		p.Driver.Publish()
		w := vring.Writing{Head: 12, Most: 200, Mergeable: true}
		ops := []vring.Op{{N: 60}, {N: 150}, {N: 70}, {N: 201}}
		n, wait := p.Device.WriteOps(ops, &w)
		if n != 3 || wait || w.Spread.Set() != 1<<1 {
			t.Fatalf("%d places, %b in pieces, waits %v", n, w.Spread.Set(), wait)
		}
		w.Long = 1 << 3
		if n, _ = p.Device.WriteOps(ops, &w); n != 3 { // it takes three, and two are left
			t.Fatalf("%d places", n)
		}
		ops[3].N = 150
		w.Most = 100
		w.Long = 1<<1 | 1<<3
		if n, _ = p.Device.WriteOps(ops, &w); n != 4 {
			t.Fatalf("%d places, want those of long frames too", n)
		}
		p.Device.CompleteWrites(ops, &w)
		var got []uint32
		p.Driver.Completed()
		for u := (vring.Used{}); p.Driver.Take(&u); {
			got = append(got, u.Len)
		}
		if want := []uint32{72, 100, 62, 82, 100, 62}; !slices.Equal(got, want) {
			t.Errorf("completed with %v bytes, want %v", got, want)
		}
	})
}
