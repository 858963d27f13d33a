package dma

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakePhysical is memory whose pages, in the order of its file, lie at these addresses. The
// pages are ordinary ones.
func fakePhysical(t *testing.T, places ...IOVA) *Physical {
	t.Helper()
	fd, err := unix.MemfdCreate("pages", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "pages")
	if err := file.Truncate(int64(len(places)) * hugePageSize); err != nil {
		t.Fatal(err)
	}
	p, err := InheritPhysical(file, places)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

const mib2 = IOVA(hugePageSize)

// TestPhysicalMemoryIsWhereItIsSaidToBe writes through what was handed out and finds it in
// the page of the file that lies at the address.
func TestPhysicalMemoryIsWhereItIsSaidToBe(t *testing.T) {
	places := []IOVA{9 * mib2, 4 * mib2, 8 * mib2, 5 * mib2, 20 * mib2} // in the order of the file
	p := fakePhysical(t, places...)
	a := NewPhysicalArena(p)
	pageAt := map[IOVA]int{}
	for i, at := range p.Places() {
		if at != places[i] {
			t.Fatalf("page %d is said to lie at %v", i, at)
		}
		pageAt[at] = i
	}
	for i, size := range []int{100, 4096, 3 << 20, 64, 2 << 20, 1 << 20} {
		mem, err := a.Alloc(size, 64)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		for j := range mem.Bytes {
			if mem.Bytes[j] != 0 {
				t.Fatal("memory is not zeroed")
			}
			mem.Bytes[j] = byte(i + 1)
		}
		for off := 0; off < size; off += 1000 { // wherever it is, also on the other side of a page's end
			at := mem.IOVA + IOVA(off)
			index, ok := pageAt[at&^(mib2-1)]
			if !ok {
				t.Fatalf("%d bytes at %v: at %v there is no page", size, mem.IOVA, at)
			}
			var b [1]byte
			if _, err := p.File().ReadAt(b[:], int64(index)*hugePageSize+int64(at&(mib2-1))); err != nil || b[0] != byte(i+1) {
				t.Fatalf("%d bytes at %v: page %d has %d at %v, %v", size, mem.IOVA, index, b[0], at, err)
			}
		}
	}
	if err := a.Remap(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again := NewPhysicalArena(p)
	mem, err := again.Alloc(4<<20, 4096)
	if err != nil || !bytes.Equal(mem.Bytes, make([]byte, 4<<20)) {
		t.Errorf("memory that came back is not whole, or not zeroed: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestPhysicalPiecesAreOfOnePiece: what is longer than a page lies side by side, or is not
// handed out.
func TestPhysicalPiecesAreOfOnePiece(t *testing.T) {
	p := fakePhysical(t, 2*mib2, 4*mib2, 5*mib2, 7*mib2, 8*mib2, 9*mib2)
	a := NewPhysicalArena(p)
	defer a.Close()
	want := []struct {
		size int
		at   IOVA // 0: refused
	}{
		{8 << 20, 0},
		{2 << 20, 2 * mib2}, // the smallest hole
		{4 << 20, 4 * mib2},
		{6 << 20, 7 * mib2},
		{1, 0},
	}
	for _, w := range want {
		mem, err := a.Alloc(w.size, 4096)
		if w.at == 0 {
			if !errors.Is(err, ErrHugePages) {
				t.Errorf("%d bytes: %v, %v", w.size, mem.IOVA, err)
			}
			continue
		}
		if err != nil || mem.IOVA != w.at || !a.HugePages() {
			t.Errorf("%d bytes lie at %v, want %v; %v", w.size, mem.IOVA, w.at, err)
		}
	}
}

func TestInheritPhysicalRefusesNonsense(t *testing.T) {
	for name, places := range map[string][]IOVA{
		"none": {}, "null": {0}, "crooked": {mib2 + 4096}, "twice": {mib2, 3 * mib2, mib2}, "at the end": {^IOVA(0) &^ (mib2 - 1)},
	} {
		if _, err := InheritPhysical(nil, places); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestLocate reads a pagemap with odd answers.
func TestLocate(t *testing.T) {
	const present = uint64(pagemapPresent)
	for name, c := range map[string]struct {
		entry uint64
		says  string
	}{
		"there":                         {present | 0x1234<<9, ""},
		"with other bits":               {present | 1<<55 | 1<<61 | 0x1234<<9, ""},
		"not in memory":                 {0x1234 << 9, "not in memory"},
		"swapped out":                   {1<<62 | 0x1234<<9, "not in memory"},
		"no one may know":               {present, "CAP_SYS_ADMIN: run as root"},
		"no one may know, and more is ": {present | 1<<55, "CAP_SYS_ADMIN"},
	} {
		const first = 0x7f00_0020_0000
		pagemap := make(pagemapAt)
		for i := range 2 {
			pagemap[first/4096+int64(i)*512] = c.entry + uint64(i)<<9
		}
		if c.entry&pagemapFrame == 0 {
			pagemap[first/4096+512] = c.entry
		}
		got, err := locateIn(pagemap, first, 2, 4096)
		switch {
		case c.says == "":
			if err != nil || len(got) != 2 || got[0] != 0x1234*mib2 || got[1] != 0x1235*mib2 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		case err == nil || !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := locateIn(bytes.NewReader(nil), 0x1000, 1, 4096); err == nil {
		t.Error("a pagemap that ends was read")
	}
}

// pagemapAt has an entry for some pages, by their numbers.
type pagemapAt map[int64]uint64

func (p pagemapAt) ReadAt(b []byte, off int64) (int, error) {
	v, ok := p[off/pagemapEntry]
	if !ok || off%pagemapEntry != 0 || len(b) != pagemapEntry {
		return 0, errors.New("a page that was not asked about")
	}
	binary.NativeEndian.PutUint64(b, v)
	return len(b), nil
}

// TestMost: if not all pages can be had, all that can are taken.
func TestMost(t *testing.T) {
	for _, c := range []struct{ n, has int }{{5, 5}, {5, 1}, {5, 4}, {8, 3}, {1, 0}, {5, 0}} {
		tries := 0
		mem, n, err := most(c.n, func(n int) ([]byte, error) {
			if tries++; n > c.has {
				return nil, unix.ENOMEM
			}
			return unix.Mmap(-1, 0, n*4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		})
		if c.has == 0 {
			if !errors.Is(err, ErrHugePages) || !errors.Is(err, unix.ENOMEM) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%d of none: %v", c.n, err)
			}
			continue
		}
		if err != nil || n != c.has || len(mem) != n*4096 || tries > 6 {
			t.Errorf("%d of %d: got %d, %d bytes, in %d tries, %v", c.n, c.has, n, len(mem), tries, err)
		}
		unix.Munmap(mem)
	}
}

// TestTakePhysical takes real huge pages, or says in one line that there are none.
func TestTakePhysical(t *testing.T) {
	p, err := TakePhysical(2)
	if err != nil {
		if !errors.Is(err, ErrHugePages) && !errors.Is(err, ErrNoLocation) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error: %v", err)
		}
		return
	}
	defer p.Close()
	if n := len(p.Places()); n != 1 && n != 2 {
		t.Errorf("%d pages", n)
	}
}
