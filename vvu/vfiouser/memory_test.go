package vfiouser

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"vvufwd/virtio/mem"
)

func TestMemoryJoinsNeighbours(t *testing.T) {
	m := newMemory(0)
	defer m.close()
	fd := memfd(t, 1<<20)
	const page = 4096
	for i := uint64(0); i < 100; i++ { // as with a vIOMMU: one message per page
		if err := m.add(dmaMap{Addr: 0x1_0000_0000 + i*page, Size: page, Offset: i * page}, []int{fd}); err != nil {
			t.Fatal(err)
		}
	}
	// A neighbour in the address space that is none in the file.
	if err := m.add(dmaMap{Addr: 0x1_0000_0000 + 100*page, Size: page, Offset: 200 * page}, []int{fd}); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Table().Regions()); n != 2 {
		t.Errorf("%d regions, want 2", n)
	}
	if first := m.Table(); m.Table() != first {
		t.Error("the table is built again without a change")
	}
	if len(m.files) != 1 {
		t.Errorf("%d files mapped, want 1", len(m.files))
	}
	// A hole in the middle.
	if err := m.remove(dmaUnmap{Addr: 0x1_0000_0000 + 10*page, Size: 2 * page}); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Table().Regions()); n != 3 {
		t.Errorf("%d regions after a hole, want 3", n)
	}
}

// TestMemoryModel compares the table with a model that keeps one entry per page.
func TestMemoryModel(t *testing.T) {
	const pages, page = 24, 4096
	fds := []int{memfd(t, pages*page), memfd(t, pages*page)}
	for i, fd := range fds {
		for p := range int64(pages) {
			if _, err := unix.Pwrite(fd, []byte{byte(i), byte(p)}, p*page); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(0)
		defer m.close()
		type where struct{ file, page int } // file -1: mapped without one
		model := map[int]where{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			first := rapid.IntRange(0, pages-1).Draw(t, "first")
			n := rapid.IntRange(1, pages-first).Draw(t, "pages")
			if rapid.Bool().Draw(t, "map") {
				file := rapid.IntRange(-1, 1).Draw(t, "file")
				offset := rapid.IntRange(0, pages-n).Draw(t, "offset")
				taken := false
				for p := first; p < first+n; p++ {
					_, used := model[p]
					taken = taken || used
				}
				var with []int
				if file >= 0 {
					with = fds[file : file+1]
				}
				err := m.add(dmaMap{Addr: uint64(first * page), Size: uint64(n * page), Offset: uint64(offset * page)}, with)
				if taken != errors.Is(err, unix.EEXIST) || !taken && err != nil {
					t.Fatalf("mapping pages %d+%d: %v, taken is %v", first, n, err, taken)
				}
				if taken {
					continue
				}
				for p := range n {
					model[first+p] = where{file, offset + p}
				}
			} else {
				if err := m.remove(dmaUnmap{Addr: uint64(first * page), Size: uint64(n * page)}); err != nil {
					t.Fatal(err)
				}
				for p := first; p < first+n; p++ {
					delete(model, p)
				}
			}
			table := m.Table()
			m.reap()
			for p := range pages {
				v, ok := table.View(mem.GPA(p*page), page)
				want, mapped := model[p]
				mapped = mapped && want.file >= 0
				if ok != mapped || ok && (int(v[0]) != want.file || int(v[1]) != want.page) {
					t.Fatalf("page %d: seen %v, want %v %v", p, ok, mapped, want)
				}
			}
		}
	})
}

func TestMemoryGrownFile(t *testing.T) {
	m := newMemory(0)
	defer m.close()
	fd := memfd(t, 4096)
	if err := m.add(dmaMap{Addr: 0, Size: 4096}, []int{fd}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, 8192); err != nil {
		t.Fatal(err)
	}
	if err := m.add(dmaMap{Addr: 4096, Size: 4096, Offset: 4096}, []int{fd}); err != nil {
		t.Fatal(err)
	}
	table := m.Table()
	m.reap()
	v, ok := table.View(4095, 2)
	if !ok {
		t.Fatal("the grown file is not one region")
	}
	v[0], v[1] = 1, 2
	var b [2]byte
	if _, err := unix.Pread(fd, b[:], 4095); err != nil || b != [2]byte{1, 2} {
		t.Errorf("file holds %v (%v)", b, err)
	}
}

func TestMemoryBounds(t *testing.T) {
	m := newMemory(0)
	defer m.close()
	if err := m.add(dmaMap{Addr: ^uint64(0) - 4095, Size: 4096}, []int{memfd(t, 4096)}); err != nil {
		t.Fatal(err) // the last page there is
	}
	if _, ok := m.Table().View(mem.GPA(^uint64(0)-4095), 100); !ok {
		t.Error("the last page of the address space is not mapped")
	}
	if err := m.remove(dmaUnmap{Flags: unmapAll}); err != nil || len(m.maps) != 0 {
		t.Errorf("%d maps left after unmapping all (%v)", len(m.maps), err)
	}
	for i := range maxFiles + 3 { // files that come and go
		if err := m.add(dmaMap{Addr: 0, Size: 4096}, []int{memfd(t, 4096)}); err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
		if err := m.remove(dmaUnmap{Addr: 0, Size: 4096}); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.files) > maxFiles {
		t.Errorf("%d files are kept mapped", len(m.files))
	}
	for i := range uint64(maxFiles) {
		if err := m.add(dmaMap{Addr: i * 4096, Size: 4096}, []int{memfd(t, 4096)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.add(dmaMap{Addr: 1 << 30, Size: 4096}, []int{memfd(t, 4096)}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("one file too many: %v", err)
	}
}

// What a client shares has a bound, which the sizes of its files count for, whatever is
// behind them. Files that it took back make room.
func TestMemoryIsBounded(t *testing.T) {
	const limit, huge = 1 << 30, 100 << 40
	m := newMemory(limit)
	defer m.close()
	refused := func(fd int) {
		t.Helper()
		err := m.add(dmaMap{Addr: 1 << 40, Size: 4096}, []int{fd})
		if !errors.Is(err, errMuchMemory) || !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "1024 MiB that it may: raise --max-memory") {
			t.Errorf("too much memory: %v", err)
		}
	}
	refused(memfd(t, huge))
	for i := range uint64(2) {
		if err := m.add(dmaMap{Addr: i * 4096, Size: 4096}, []int{memfd(t, limit/2)}); err != nil {
			t.Fatalf("half of the limit: %v", err)
		}
	}
	grown := memfd(t, 4096)
	refused(grown)
	if err := m.remove(dmaUnmap{Addr: 0, Size: 4096}); err != nil {
		t.Fatal(err)
	}
	if err := m.add(dmaMap{Addr: 0, Size: 4096}, []int{grown}); err != nil {
		t.Fatalf("in the place of what is gone: %v", err)
	}
	if err := unix.Ftruncate(grown, huge); err != nil {
		t.Fatal(err)
	}
	if err := m.add(dmaMap{Addr: 4096 * 4096, Size: 4096}, []int{grown}); err != nil {
		t.Errorf("what a file has of old stays good when it has grown: %v", err)
	}
	err := m.add(dmaMap{Addr: 8192 * 4096, Size: 4096, Offset: 4096}, []int{grown})
	if !errors.Is(err, errMuchMemory) {
		t.Errorf("a file that has grown too much: %v", err)
	}
	if n := len(m.Table().Regions()); n != 3 {
		t.Errorf("%d regions are left, want 3", n)
	}
}

// A file that no one uses gives way to what it has grown to itself.
func TestFileGivesWayToItself(t *testing.T) {
	const limit = 1 << 30
	m := newMemory(limit)
	defer m.close()
	other, fd := memfd(t, limit-4096), memfd(t, 4096)
	for i, fd := range []int{other, fd} {
		d := dmaMap{Addr: uint64(i) << 40, Size: 4096}
		if err := m.add(d, []int{fd}); err != nil {
			t.Fatal(err)
		}
		if err := m.remove(dmaUnmap{Addr: d.Addr, Size: d.Size}); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Ftruncate(fd, limit); err != nil {
		t.Fatal(err)
	}
	if err := m.add(dmaMap{Addr: 0, Size: 8192}, []int{fd}); err != nil {
		t.Fatal(err)
	}
	seen := map[*byte]bool{}
	for _, b := range m.retired {
		if seen[&b[0]] {
			t.Error("memory is to be unmapped twice")
		}
		seen[&b[0]] = true
	}
	if v, ok := m.Table().View(0, 8192); !ok || len(m.files) != 1 || m.totalWith(fileID{}, 0) != limit {
		t.Errorf("%d bytes are mapped from %d files", len(v), len(m.files))
	}
}

// Holes in maps make more of them, and those are bounded too.
func TestHolesAreBounded(t *testing.T) {
	m := newMemory(0)
	defer m.close()
	fd := memfd(t, 4096)
	for i := range uint64(MaxDMAMaps) {
		if err := m.add(dmaMap{Addr: i << 20, Size: 3}, []int{fd}); err != nil {
			t.Fatal(err)
		}
	}
	hole := func(i uint64) error { return m.remove(dmaUnmap{Addr: i<<20 + 1, Size: 1}) }
	if err := hole(7); !errors.Is(err, unix.ENOSPC) || len(m.maps) != MaxDMAMaps {
		t.Errorf("a hole makes %d maps (%v)", len(m.maps), err)
	}
	if err := m.remove(dmaUnmap{Addr: 0, Size: 2}); err != nil { // what is left is one still
		t.Error(err)
	}
	if err := m.remove(dmaUnmap{Addr: 1 << 20, Size: 3}); err != nil {
		t.Error(err)
	}
	if err := hole(7); err != nil || len(m.maps) != MaxDMAMaps {
		t.Errorf("a hole where there is room makes %d maps (%v)", len(m.maps), err)
	}
	if n := len(m.Table().Regions()); n != MaxDMAMaps {
		t.Errorf("%d regions, want %d", n, MaxDMAMaps)
	}
	if err := m.remove(dmaUnmap{Flags: unmapAll}); err != nil || len(m.maps) != 0 || m.files[m.only()].users != 0 {
		t.Errorf("%d maps are left (%v)", len(m.maps), err)
	}
}

// only is the one file that there is.
func (m *memory) only() (id fileID) {
	for id = range m.files {
	}
	return id
}
