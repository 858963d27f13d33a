package mem

import (
	"errors"
	"math"
	"testing"
)

func region(gpa GPA, uva uint64, n int) Region {
	return Region{GPA: gpa, UVA: uva, Mem: make([]byte, n)}
}

func TestNewRefusesBadRegions(t *testing.T) {
	for name, tc := range map[string]struct {
		regions []Region
		want    error
	}{
		"empty":        {[]Region{{GPA: 0}}, ErrEmpty},
		"gpa wraps":    {[]Region{region(math.MaxUint64-10, 0, 16)}, ErrWrap},
		"uva wraps":    {[]Region{region(0, math.MaxUint64-10, 16)}, ErrWrap},
		"overlap":      {[]Region{region(0x1000, 0, 0x1001), region(0x2000, 0, 16)}, ErrOverlap},
		"same address": {[]Region{region(0x1000, 0, 16), region(0x1000, 0, 16)}, ErrOverlap},
	} {
		if _, err := New(tc.regions); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if _, err := New([]Region{region(0x2000, 0, 0x1000), region(0x1000, 0, 0x1000)}); err != nil {
		t.Errorf("adjacent regions in any order: %v", err)
	}
}

func TestViewStaysInsideOneRegion(t *testing.T) {
	tab, err := New([]Region{region(0x1000, 0x7f0000, 0x1000), region(0x2000, 0x9f0000, 0x1000), region(0x10000, 0xaf0000, 0x100)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		addr GPA
		n    uint64
		ok   bool
	}{
		{0x1000, 0x1000, true}, {0x1fff, 1, true}, {0x1fff, 2, false}, {0xfff, 1, false},
		{0x2fff, 1, true}, {0x3000, 1, false}, {0x10000, 0x100, true}, {0x10000, 0x101, false},
		{0x10000, math.MaxUint64, false}, {math.MaxUint64, 1, false}, {0x1000, 0, true},
	} {
		v, ok := tab.View(tc.addr, tc.n)
		if ok != tc.ok || ok && (uint64(len(v)) != tc.n || cap(v) != len(v)) {
			t.Errorf("View(%#x, %d) = %d bytes, %v", tc.addr, tc.n, len(v), ok)
		}
	}
}

func TestPrefixSplitsAtRegionEnds(t *testing.T) {
	tab, _ := New([]Region{region(0x1000, 0, 0x1000), region(0x2000, 0, 0x1000)})
	for _, start := range []int{0, 1, -1, 99, math.MinInt} { // whatever the hint holds
		hint := start
		if v := tab.Prefix(0x1ff0, 0x20, &hint); len(v) != 0x10 {
			t.Errorf("hint %d: prefix of a straddling buffer is %d bytes, want 16", start, len(v))
		}
		if v := tab.Prefix(0x2000, 0x10, &hint); len(v) != 0x10 || cap(v) != 0x10 {
			t.Errorf("hint %d: rest is %d bytes (cap %d)", start, len(v), cap(v))
		}
		if v := tab.Prefix(0x3000, 1, &hint); v != nil {
			t.Errorf("hint %d: a view outside memory", start)
		}
		if v := tab.Prefix(0, 1, &hint); v != nil {
			t.Errorf("hint %d: a view below memory", start)
		}
	}
}

func TestFromUser(t *testing.T) {
	tab, _ := New([]Region{region(0x1000, 0x7f0000, 0x1000), region(0x4000, 0x100000, 0x1000)})
	for _, tc := range []struct {
		uva, n uint64
		want   GPA
		ok     bool
	}{
		{0x7f0010, 0x10, 0x1010, true}, {0x100fff, 1, 0x4fff, true}, {0x100fff, 2, 0, false},
		{0x7effff, 1, 0, false}, {0x7f0000, math.MaxUint64, 0, false}, {math.MaxUint64, 1, 0, false},
	} {
		got, ok := tab.FromUser(tc.uva, tc.n)
		if got != tc.want || ok != tc.ok {
			t.Errorf("FromUser(%#x, %d) = %#x, %v", tc.uva, tc.n, got, ok)
		}
	}
}
