package mem

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
)

// logOf makes a log whose bitmap begins at skip.
func logOf(t *testing.T, table *Table, skip, size uint64) *DirtyLog {
	t.Helper()
	l, err := NewDirtyLog(table, make([]byte, (skip+size+2*DirtyPage-1)/DirtyPage*DirtyPage), skip, size)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// marked are the pages that are marked, by the bitmap's own bytes.
func (l *DirtyLog) marked() map[uint64]bool {
	pages := map[uint64]bool{}
	for i, b := range l.words {
		for bit := range uint64(8) {
			if b>>bit&1 != 0 {
				pages[(uint64(i)-l.skip)*8+bit] = true // below the bitmap: a huge number
			}
		}
	}
	return pages
}

// A write marks all pages that it touches and no other, wherever the bitmap begins.
func TestDirtyLogMarksPages(t *testing.T) {
	table, _ := New([]Region{region(0, 0, 64*DirtyPage), region(0x100000, 0, 300*DirtyPage+5)})
	need := table.LogBytes()
	if want := uint64(0x100+300)/8 + 1; need != want {
		t.Fatalf("the log needs %d bytes, want %d", need, want)
	}
	for _, skip := range []uint64{0, 1, 2, 3, 4, 7, 4095, 4096, 4099} {
		for _, tc := range []struct {
			addr GPA
			n    uint64
			want []uint64
		}{
			{0, 1, []uint64{0}}, {4095, 1, []uint64{0}}, {4095, 2, []uint64{0, 1}}, {5, 0, nil},
			{7 * 4096, 3 * 4096, []uint64{7, 8, 9}}, {0x100000 + 300*4096 + 4, 1, []uint64{0x100 + 300}},
			{0x100000, 4097, []uint64{0x100, 0x101}},
		} {
			l := logOf(t, table, skip, need)
			l.Mark(tc.addr, tc.n)
			got := l.marked()
			for _, p := range tc.want {
				if !got[p] {
					t.Errorf("skip %d: %d bytes at %#x: page %#x is not marked", skip, tc.n, tc.addr, p)
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("skip %d: %d bytes at %#x mark %v, want %v", skip, tc.n, tc.addr, got, tc.want)
			}
			v := logOf(t, table, skip, need)
			if view, ok := table.View(tc.addr, tc.n); ok {
				v.MarkView(view)
				if len(v.marked()) != len(got) {
					t.Errorf("skip %d: the view of %d bytes at %#x marks %v", skip, tc.n, tc.addr, v.marked())
				}
			}
		}
	}
}

// Nothing is marked outside the bitmap, whatever is asked for.
func TestDirtyLogStaysInside(t *testing.T) {
	table, _ := New([]Region{region(0, 0, DirtyPage)})
	l := logOf(t, table, 3, 2)
	for _, addr := range []GPA{16 * DirtyPage, 1 << 40, ^GPA(0)} {
		l.Mark(addr, 1)
		l.Mark(addr-1, 1<<20)
	}
	l.MarkView(make([]byte, 10)) // no one's
	for page := range l.marked() {
		if page != 15 { // the byte before 16*DirtyPage
			t.Errorf("page %#x is marked", page)
		}
	}
	if l.Covers(16*DirtyPage, 1) || l.Covers(16*DirtyPage-1, 2) || l.Covers(^GPA(0), 2) || l.Covers(0, 0) || !l.Covers(16*DirtyPage-1, 1) {
		t.Error("Covers is wrong about the end of the log")
	}
}

func TestDirtyLogRefusesWhatIsTooSmall(t *testing.T) {
	table, _ := New([]Region{region(1<<32, 0, DirtyPage)})
	if _, err := NewDirtyLog(table, make([]byte, 1<<20), 0, table.LogBytes()-1); !errors.Is(err, ErrLogTooSmall) {
		t.Errorf("one byte too few: %v", err)
	}
	for _, tc := range [][2]uint64{{1, 1 << 20}, {1<<20 + 1, 0}, {0, 1<<20 + 1}, {^uint64(0), 2}} {
		if _, err := NewDirtyLog(table, make([]byte, 1<<20), tc[0], tc[1]); err == nil {
			t.Errorf("%d bytes at %d of 1 MiB are accepted", tc[1], tc[0])
		}
	}
}

// What was marked in one log and not collected is marked in its successor.
func TestDirtyLogAdopts(t *testing.T) {
	table, _ := New([]Region{region(0, 0, 5*DirtyPage), region(0x40000, 0, 100*DirtyPage)})
	old, next := logOf(t, table, 5, 1000), logOf(t, table, 2, table.LogBytes())
	old.Mark(0x1000, 1)
	old.Mark(0x40000+99*DirtyPage, 1)
	next.Mark(0x2000, 1)
	next.Adopt(old)
	if got := next.marked(); len(got) != 3 || !got[1] || !got[2] || !got[0x40+99] {
		t.Errorf("marked after all: %v", got)
	}
}

// Marks of several loops, and of a monitor that clears, do not undo each other.
func TestDirtyLogIsAtomic(t *testing.T) {
	table, _ := New([]Region{region(0, 0, 32*DirtyPage)})
	l := logOf(t, table, 0, 4)
	var all sync.WaitGroup
	for k := range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 2000 {
				l.Mark(GPA(k*8+rand.IntN(8))*DirtyPage, 1)
			}
			for p := range 8 {
				l.Mark(GPA(k*8+p)*DirtyPage, 1)
			}
		}()
	}
	all.Wait()
	if n := len(l.marked()); n != 32 {
		t.Errorf("%d of 32 pages are marked", n)
	}
}
