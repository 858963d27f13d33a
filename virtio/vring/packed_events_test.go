package vring

import "testing"

// Every event word against every stretch of a few laps: a cursor that moves over the
// slot with that wrap counter wants a notification, and nothing else does, but for
// more than a lap.
func TestWantsOnEveryEvent(t *testing.T) {
	for size := 1; size <= 6; size++ {
		for new := range 5 * size {
			for moved := 0; moved <= min(new, 2*size); moved++ {
				at := cursor{uint16(new % size), uint16(1 - new/size%2)}
				for lap := range uint16(2) {
					for slot := range size {
						event := cursor{uint16(slot), lap}
						want := moved > size
						for old := new - moved; old < new; old++ {
							want = want || old%size == slot && uint16(1-old/size%2) == lap
						}
						area := uint32(event.word()) | uint32(EventDesc)<<16
						if got := at.wants(area, uint32(moved), uint32(size), true); got != want {
							t.Fatalf("%d slots, event %+v, from %d to %d: %v, want %v", size, event, new-moved, new, got, want)
						}
					}
				}
			}
		}
	}
}

// The flags decide first; what has no meaning asks for everything.
func TestWantsByFlags(t *testing.T) {
	at := cursor{5, 1}
	far := uint32(cursor{20, 1}.word()) // not passed
	for _, tt := range []struct {
		flags    uint32
		eventIdx bool
		want     bool
	}{
		{0, false, true}, {0, true, true}, {1, false, false}, {1, true, false},
		{2, true, false}, {2, false, true}, // only with EVENT_IDX
		{3, true, true}, {3, false, true}, // reserved
		{1 | 0xfffc, true, false}, {2 | 0xfffc, true, false}, {0xfffc, true, true}, // reserved bits
	} {
		if got := at.wants(far|tt.flags<<16, 1, 32, tt.eventIdx); got != tt.want {
			t.Errorf("flags %#x, EVENT_IDX %v: %v, want %v", tt.flags, tt.eventIdx, got, tt.want)
		}
	}
	// A slot outside the ring is passed by no one, and breaks nothing.
	for word := range uint32(1 << 16) {
		if int(word&0x7fff) >= 32 && at.wants(word|uint32(EventDesc)<<16, 3, 32, true) && word>>15 == 1 {
			t.Fatalf("event %#x outside the ring wants something", word)
		}
	}
}

// A cursor goes forth and back over the end of rings of any size.
func TestCursor(t *testing.T) {
	for _, size := range []uint16{1, 2, 3, 1000, 32767, 32768} {
		for _, n := range []uint16{0, 1, 2, size / 2, size - 1, size} {
			n = min(n, size)
			for _, c := range []cursor{{0, 1}, {0, 0}, {size - 1, 1}, {size - 1, 0}, {size / 2, 1}} {
				moved := c
				moved.advance(n, size)
				at := int(c.at) + int(n)
				want := cursor{uint16(at % int(size)), c.wrap ^ uint16(at/int(size))}
				if moved != want {
					t.Fatalf("%d slots: %+v and %d is %+v, want %+v", size, c, n, moved, want)
				}
				if moved.back(n, size); moved != c {
					t.Fatalf("%d slots: %+v and back %d is %+v", size, c, n, moved)
				}
				if cursorAt(c.word()) != c {
					t.Fatalf("%+v is not what its word %#x says", c, c.word())
				}
			}
		}
	}
}

// An area is loaded and stored as a word; the neighbours stay.
func TestStoreRelease32(t *testing.T) {
	words := [3]uint32{0x11111111, 0x22222222, 0x33333333}
	setEvent(&words[1], 0x8003, EventDesc)
	if words != [3]uint32{0x11111111, 0x0002_8003, 0x33333333} || event(&words[1]) != words[1] {
		t.Errorf("words are %#x", words)
	}
}
