package mmio_test

import (
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/mmio/mmiotest"
)

// memory returns n bytes aligned to 8.
func memory(n int) []byte {
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

func mustSub(t *testing.T, s mmio.Space, off, n uint64) mmio.Space {
	t.Helper()
	part, err := mmio.Sub(s, off, n)
	if err != nil {
		t.Fatal(err)
	}
	return part
}

func TestWindowIsLittleEndian(t *testing.T) {
	mem := memory(16)
	w := mmio.NewWindow(mem)
	w.Store8(0, 0x11)
	w.Store16(2, 0x2233)
	w.Store32(4, 0x44556677)
	w.Store64(8, 0x8899aabbccddeeff)
	want := []byte{0x11, 0, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88}
	if diff := cmp.Diff(want, mem); diff != "" {
		t.Error(diff)
	}
	if v := w.Load8(0); v != 0x11 {
		t.Errorf("Load8: 0x%x", v)
	}
	if v := w.Load16(2); v != 0x2233 {
		t.Errorf("Load16: 0x%x", v)
	}
	if v := w.Load32(4); v != 0x44556677 {
		t.Errorf("Load32: 0x%x", v)
	}
	if v := w.Load64(8); v != 0x8899aabbccddeeff {
		t.Errorf("Load64: 0x%x", v)
	}
}

func TestSubOfWindowIsWindow(t *testing.T) {
	w := mmio.NewWindow(memory(64))
	part := mustSub(t, mustSub(t, w, 16, 32), 8, 8)
	if _, ok := part.(*mmio.Window); !ok {
		t.Fatalf("part of a window is a %T", part)
	}
	part.Store16(6, 0xbeef)
	if v := w.Load16(16 + 8 + 6); v != 0xbeef {
		t.Errorf("the part does not lie where it should: 0x%x", v)
	}
}

func TestSubRefusesWhatLiesOutside(t *testing.T) {
	spaces := map[string]mmio.Space{
		"window": mmio.NewWindow(memory(64)),
		"fake":   mmiotest.NewFake(64),
		"part":   mustSub(t, mmiotest.NewFake(128), 32, 64),
	}
	for name, s := range spaces {
		for _, c := range []struct {
			off, n uint64
			ok     bool
		}{
			{0, 64, true}, {64, 0, true}, {63, 1, true}, {60, 4, true},
			{0, 65, false}, {64, 1, false}, {65, 0, false},
			{8, ^uint64(0), false}, {^uint64(0), 8, false}, {^uint64(0) - 7, 16, false},
		} {
			part, err := mmio.Sub(s, c.off, c.n)
			if (err == nil) != c.ok {
				t.Errorf("%s: Sub(0x%x, 0x%x): error %v", name, c.off, c.n, err)
			}
			if err == nil && part.Len() != c.n {
				t.Errorf("%s: Sub(0x%x, 0x%x) has 0x%x bytes", name, c.off, c.n, part.Len())
			}
		}
	}
}

// TestAccessOutsidePanics: no offset, however large, may wrap around into the bank.
func TestAccessOutsidePanics(t *testing.T) {
	spaces := map[string]mmio.Space{
		"window":      mmio.NewWindow(memory(16)),
		"part":        mustSub(t, mmiotest.NewFake(64), 8, 16),
		"window part": mustSub(t, mmio.NewWindow(memory(64)), 8, 16),
	}
	accesses := map[string]struct {
		width uint64
		do    func(s mmio.Space, off uint64)
	}{
		"Load8":   {1, func(s mmio.Space, off uint64) { s.Load8(off) }},
		"Load16":  {2, func(s mmio.Space, off uint64) { s.Load16(off) }},
		"Load32":  {4, func(s mmio.Space, off uint64) { s.Load32(off) }},
		"Load64":  {8, func(s mmio.Space, off uint64) { s.Load64(off) }},
		"Store8":  {1, func(s mmio.Space, off uint64) { s.Store8(off, 0) }},
		"Store16": {2, func(s mmio.Space, off uint64) { s.Store16(off, 0) }},
		"Store32": {4, func(s mmio.Space, off uint64) { s.Store32(off, 0) }},
		"Store64": {8, func(s mmio.Space, off uint64) { s.Store64(off, 0) }},
	}
	panics := func(f func()) (did bool) {
		defer func() { did = recover() != nil }()
		f()
		return false
	}
	for spaceName, s := range spaces {
		for name, a := range accesses {
			for _, off := range []uint64{16 - a.width + 1, 16, ^uint64(0), -a.width, 1 << 63} {
				if !panics(func() { a.do(s, off) }) {
					t.Errorf("%s: %s at 0x%x of 16 bytes does not panic", spaceName, name, off)
				}
			}
			if panics(func() { a.do(s, 16-a.width) }) {
				t.Errorf("%s: %s of the last register panics", spaceName, name)
			}
		}
	}
}

// TestPartKeepsWidthAndOrder: a part adds its base and changes nothing else.
func TestPartKeepsWidthAndOrder(t *testing.T) {
	fake := mmiotest.NewFake(0x100)
	part := mustSub(t, mustSub(t, fake, 0x40, 0x40), 0x10, 0x20)
	part.Store64(0, 0x1111111122222222)
	part.Store16(8, 0x3333)
	part.Store8(10, 0x44)
	part.Load64(0)
	part.Load32(4)
	part.Load16(8)
	part.Load8(10)
	want := []mmiotest.Access{
		{Write: true, Offset: 0x50, Width: 4, Value: 0x22222222},
		{Write: true, Offset: 0x54, Width: 4, Value: 0x11111111},
		{Write: true, Offset: 0x58, Width: 2, Value: 0x3333},
		{Write: true, Offset: 0x5a, Width: 1, Value: 0x44},
		{Offset: 0x50, Width: 4, Value: 0x22222222},
		{Offset: 0x54, Width: 4, Value: 0x11111111},
		{Offset: 0x54, Width: 4, Value: 0x11111111},
		{Offset: 0x58, Width: 2, Value: 0x3333},
		{Offset: 0x5a, Width: 1, Value: 0x44},
	}
	if diff := cmp.Diff(want, fake.Log()); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkDoorbell(b *testing.B) {
	var s mmio.Space = mmio.NewWindow(memory(4096))
	b.ReportAllocs()
	for range b.N {
		s.Store16(8, 1)
	}
}
