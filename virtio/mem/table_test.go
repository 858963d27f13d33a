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
	for i, start := range append([]Region{{}}, tab.Regions()...) { // whatever was hit last
		last := start
		if v := tab.Prefix(0x1ff0, 0x20, &last); len(v) != 0x10 || cap(v) != 0x10 {
			t.Errorf("start %d: prefix of a straddling buffer is %d bytes (cap %d), want 16", i, len(v), cap(v))
		}
		if v := tab.Prefix(0x2000, 0x10, &last); len(v) != 0x10 || cap(v) != 0x10 {
			t.Errorf("start %d: rest is %d bytes (cap %d)", i, len(v), cap(v))
		}
		if v := tab.Prefix(0x3000, 1, &last); v != nil {
			t.Errorf("start %d: a view outside memory", i)
		}
		if v := tab.Prefix(0, 1, &last); v != nil {
			t.Errorf("start %d: a view below memory", i)
		}
		if v := tab.Prefix(math.MaxUint64, 1, &last); v != nil {
			t.Errorf("start %d: a view at the end of the address space", i)
		}
	}
}

func TestRegionView(t *testing.T) {
	r := region(0x1000, 0, 0x1000)
	for _, tc := range []struct {
		addr GPA
		n    uint32
		ok   bool
	}{
		{0x1000, 1, true}, {0x1000, 0x1000, true}, {0x1000, 0x1001, false}, {0x1fff, 1, true}, {0x1fff, 2, false},
		{0x2000, 1, false}, {0xfff, 1, false}, {0xfff, 2, false}, {0, math.MaxUint32, false}, {math.MaxUint64, 1, false},
		{0x1000, 0, false}, {0x1800, math.MaxUint32, false},
	} {
		v, ok := r.View(tc.addr, tc.n)
		if ok != tc.ok || ok && (uint32(len(v)) != tc.n || cap(v) != len(v) || &v[0] != &r.Mem[tc.addr-r.GPA]) {
			t.Errorf("View(%#x, %d) = %d bytes (cap %d), %v", tc.addr, tc.n, len(v), cap(v), ok)
		}
	}
	if _, ok := new(Region).View(0, 1); ok {
		t.Error("an empty region has a view")
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
