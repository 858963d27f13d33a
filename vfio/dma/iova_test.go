package dma

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTakePrefersHighAddresses(t *testing.T) {
	var s iovaSpace
	intel := []Range{{0, 0xfedf_ffff}, {0xfef0_0000, 1<<39 - 1}}
	for i, want := range []IOVA{4 << 30, 4<<30 + 2<<20, 4<<30 + 4<<20} {
		if got, err := s.take(intel, 2<<20, 2<<20); err != nil || got != want {
			t.Errorf("take %d: %v, %v; want %v", i, got, err, want)
		}
	}
	s.release(4<<30 + 2<<20)
	if got, err := s.take(intel, 4096, 4096); err != nil || got != 4<<30+2<<20 {
		t.Errorf("what was released is not used again: %v, %v", got, err)
	}
}

func TestTakeGoesLowIfItMust(t *testing.T) {
	var s iovaSpace
	low := []Range{{0, 0xffff_ffff}}
	got, err := s.take(low, 1<<30, 2<<20)
	if err != nil || got != 2<<20 {
		t.Errorf("got %v, %v", got, err)
	}
	// 0x40200000 up to the interrupt window is less than 3 GiB; above it are 17 MiB.
	if got, err := s.take(low, 3<<30, 2<<20); err == nil {
		t.Errorf("3 GiB at %v lie across the interrupt window", got)
	}
	if _, err := s.take([]Range{{0, 0xfffff}}, 4096, 4096); err == nil {
		t.Error("the first megabyte is used")
	}
	if _, err := s.take(nil, 4096, 4096); err == nil {
		t.Error("no ranges at all, and still an address")
	}
}

// TestTakeProperties: whatever is taken and released, ranges are allowed, aligned,
// off the null page and the interrupt window, and disjoint.
func TestTakeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			s       iovaSpace
			allowed []Range
			held    = map[IOVA]Range{}
		)
		for range rapid.IntRange(1, 4).Draw(t, "ranges") {
			first := IOVA(rapid.Uint64Range(0, 1<<34).Draw(t, "first"))
			allowed = append(allowed, Range{first, first + IOVA(rapid.Uint64Range(0, 1<<34).Draw(t, "length"))})
		}
		if rapid.Bool().Draw(t, "toTheEnd") {
			allowed = append(allowed, Range{1 << 63, ^IOVA(0)})
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				for first := range held {
					s.release(first)
					delete(held, first)
					break
				}
				continue
			}
			size := rapid.Uint64Range(1, 1<<33).Draw(t, "size")
			align := uint64(1) << rapid.IntRange(0, 21).Draw(t, "align")
			at, err := s.take(allowed, size, align)
			if err != nil {
				continue
			}
			got := Range{at, at + IOVA(size-1)}
			if uint64(at)%align != 0 || at < lowestStart || got.Last < at || overlaps(got, msiWindow) {
				t.Fatalf("bad range %v for size %d align %d", got, size, align)
			}
			inside := false
			for _, r := range allowed {
				inside = inside || r.First <= got.First && got.Last <= r.Last
			}
			if !inside {
				t.Fatalf("%v is not within %v", got, allowed)
			}
			for _, h := range held {
				if overlaps(got, h) {
					t.Fatalf("%v overlaps %v", got, h)
				}
			}
			held[at] = got
		}
	})
}
