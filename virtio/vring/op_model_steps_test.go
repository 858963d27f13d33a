package vring_test

import (
	"bytes"

	"pgregory.net/rapid"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// whole reports whether each of the parts lies in one region, and the ring can name them.
func (m *model) whole(b *buffer, parts []vring.Part) bool {
	for _, p := range parts {
		if _, ok := m.p.Mem.View(mem.GPA(p.Addr), uint64(p.Len)); !ok || p.Len == 0 {
			return false
		}
	}
	return b.need == 1 || !m.cfg.Packed
}

// plainRead and plainWrite report whether a buffer is plain beyond doubt; its
// indirect table could lie in two regions.
func (m *model) plainRead(b *buffer) bool {
	return len(b.read) > 0 && len(b.write) == 0 && m.whole(b, b.read) && b.read[0].Len >= opHead && len(b.content) >= opHead+opLeast && m.direct(b)
}
func (m *model) plainWrite(b *buffer) bool {
	return len(b.write) > 0 && len(b.read) == 0 && m.whole(b, b.write) && m.direct(b)
}
func (m *model) direct(b *buffer) bool { return b.need == len(b.read)+len(b.write) }

// readOps takes some of the buffers that come next.
func (m *model) readOps(t *rapid.T) {
	var ops [vring.MaxOps]vring.Op
	var s vring.Spread
	n := m.p.Device.ReadOps(&ops, &s, opHead, opLeast, opMost)
	if m.refused(t, n) {
		return
	}
	m.looked(m.seen > 0)
	m.checkNone(t, n, m.plainRead)
	for i := range n {
		b, op := m.visible[i], &ops[i]
		got := bytes.Clone(at(op.Dst, opHead))
		if s.Set()>>i&1 == 0 {
			got = append(got, at(op.Src, op.N)...)
		} else {
			total := uint32(0)
			for _, p := range s.Of(i) {
				got = append(got, at(p.Addr, p.N)...)
				total += p.N
			}
			if total != op.N || len(s.Of(i)) < 2 || s.Of(i)[0].Addr != op.Src {
				t.Fatalf("op %d of %d bytes has pieces of %d: %v", i, op.N, total, s.Of(i))
			}
		}
		if !bytes.Equal(got, b.content) || b.writeLen != 0 {
			t.Fatalf("op %d is %x, want %x", i, got, b.content)
		}
	}
	k := rapid.IntRange(0, n).Draw(t, "reads")
	m.p.Device.CompleteReads(ops[:k])
	m.completeOps(k)
}

// refused says what chains in our hands mean for the calls.
func (m *model) refused(t *rapid.T, n int) bool {
	if len(m.held)+len(m.pushed) == 0 {
		return false
	}
	if n != 0 {
		t.Fatalf("%d ops while %d chains are held", n, len(m.held)+len(m.pushed))
	}
	return true
}

// writeOps fills some of the buffers that come next.
func (m *model) writeOps(t *rapid.T) {
	ops := make([]vring.Op, rapid.IntRange(1, 4).Draw(t, "frames"))
	mergeable := rapid.Bool().Draw(t, "mergeable")
	var long uint64
	for i := range ops {
		ops[i].N = uint32(rapid.IntRange(1, 2*sideParts*partBytes).Draw(t, "length"))
		if ops[i].N > partBytes {
			long |= 1 << i
		}
	}
	w := vring.Writing{Long: long, Head: opHead, Most: partBytes, Mergeable: mergeable}
	n, wait := m.p.Device.WriteOps(ops, &w)
	if m.refused(t, n) {
		return
	}
	m.seen = m.p.Device.Pending() // it may have looked for more or not
	if m.cfg.Packed && m.seen != 0 && !wait || m.seen > len(m.visible) {
		t.Fatalf("%d pending", m.seen)
	}
	if buffers := m.checkPlaces(t, ops[:n], &w.Spread, mergeable); n == 0 {
		m.checkRoom(t, ops[n:], buffers, wait, mergeable)
	}
	k := rapid.IntRange(0, n).Draw(t, "writes")
	buffers := 0
	for i := range ops[:k] {
		frame := rapid.SliceOfN(rapid.Byte(), opHead+int(ops[i].N), opHead+int(ops[i].N)).Draw(t, "answer")
		for _, p := range placesOf(&ops[i], &w.Spread, i, opHead) {
			b := m.visible[buffers]
			copy(at(p.Addr, p.N), frame)
			b.written = append(b.written, frame[:p.N]...)
			frame = frame[p.N:]
			if p.End {
				buffers++
			}
		}
	}
	m.p.Device.CompleteWrites(ops[:k], &w)
	m.completeOps(buffers)
}

// placesOf are where op i goes.
func placesOf(op *vring.Op, s *vring.Spread, i int, head uint32) []vring.Piece {
	if s.Set()>>i&1 != 0 {
		return s.Of(i)
	}
	return []vring.Piece{{Addr: op.Dst, N: head + op.N, ID: op.DstID, End: true}}
}

// checkPlaces checks that ops lie in the buffers that come next, in their order, each filled
// before the next, and returns how many those are.
func (m *model) checkPlaces(t *rapid.T, ops []vring.Op, s *vring.Spread, mergeable bool) (buffers int) {
	for i := range ops {
		first := buffers
		left := opHead + int(ops[i].N)
		for places := placesOf(&ops[i], s, i, opHead); len(places) > 0; buffers++ {
			if buffers == len(m.visible) || buffers > first && !mergeable {
				t.Fatalf("op %d goes to buffer %d, of %d", i, buffers-first, len(m.visible)-first)
			}
			b := m.visible[buffers]
			if len(b.read) != 0 {
				t.Fatalf("op %d goes to a buffer that is to be read", i)
			}
			full := min(left, b.writeLen)
			for _, part := range b.write {
				n := min(left, int(part.Len))
				if n == 0 {
					break
				}
				want, _ := m.p.Mem.View(mem.GPA(part.Addr), uint64(part.Len))
				if len(places) == 0 || int(places[0].N) != n || !m.cfg.Packed && places[0].ID != b.head || places[0].Addr != uint64(vringtest.Address(want)) {
					t.Fatalf("op %d with %d bytes left goes to %+v, want %d bytes of %+v", i, left, places, n, part)
				}
				left -= n
				full -= n
				if end := full == 0; places[0].End != end {
					t.Fatalf("op %d: end of a buffer %v, want %v", i, places[0].End, end)
				}
				places = places[1:]
			}
		}
		if left != 0 {
			t.Fatalf("op %d has %d bytes too little room", i, left)
		}
	}
	return buffers
}

// checkRoom checks what is said of the first op that got no place, after so many buffers.
func (m *model) checkRoom(t *rapid.T, rest []vring.Op, buffers int, wait, mergeable bool) {
	if len(rest) == 0 {
		if wait {
			t.Fatal("nothing waits")
		}
		return
	}
	visible, have := m.visible[buffers:], 0
	for i, b := range visible {
		if !m.plainWrite(b) {
			return // whatever it says: the buffer may be odd
		}
		if have += b.writeLen; have >= opHead+int(rest[0].N) {
			t.Fatalf("no place for %d bytes in %d buffers", rest[0].N, i+1)
		}
		if !mergeable {
			if wait {
				t.Fatal("waits for more than the one buffer that it may use")
			}
			return
		}
	}
	if want := len(m.visible) < m.cfg.Size || m.cfg.Packed && m.placesTaken() < m.cfg.Size; wait != want {
		t.Fatalf("waits: %v, with %d of %d buffers there", wait, len(m.visible), m.cfg.Size)
	}
}

func (m *model) placesTaken() int { return m.places(m.visible...) }
