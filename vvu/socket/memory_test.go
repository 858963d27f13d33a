package socket

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
)

const memoryTestName = "memory-test"

// mappings is how many regions of this test are mapped.
func mappings(t *testing.T) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "memfd:"+memoryTestName)
}

// ownFiles is how many files of this test are open.
func ownFiles(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(target, memoryTestName) {
			n++
		}
	}
	return n
}

// testRegion is region i, and a file of its own, which holds i in its first byte.
func testRegion(t *testing.T, i int) (vhostuser.MemoryRegion, int) {
	t.Helper()
	fd, err := unix.MemfdCreate(memoryTestName, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Pwrite(fd, []byte{byte(i)}, 0); err != nil {
		t.Fatal(err)
	}
	return vhostuser.MemoryRegion{GPA: uint64(i) << 20, Size: 4096, UVA: uint64(i) << 30}, fd
}

// A table can be made before the one that it replaces is given up, or after. What both
// have is mapped once, and files are closed when the message is done.
func TestRegionsAreMappedOnce(t *testing.T) {
	for _, before := range []bool{false, true} {
		c := newCarrier(nil, &peerfd.Bin{}, 0)
		var regions []vhostuser.MemoryRegion
		var current *session.Memory
		install := func(next []vhostuser.MemoryRegion) {
			t.Helper()
			old := current
			if !before && old != nil {
				if err := old.Unmap(); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if current, err = c.Map(next); err != nil {
				t.Fatal(err)
			}
			if before && old != nil {
				if err := old.Unmap(); err != nil {
					t.Fatal(err)
				}
			}
			regions = next
			if err := c.sweep(func() []vhostuser.MemoryRegion { return regions }); err != nil {
				t.Fatal(err)
			}
			if n := mappings(t); n != len(regions) {
				t.Fatalf("%d regions take %d mappings", len(regions), n)
			}
			if n := ownFiles(t); n != 0 {
				t.Fatalf("%d files are open", n)
			}
			for _, r := range regions {
				b, ok := current.Table.View(mem.GPA(r.GPA), 1)
				if !ok || b[0] != byte(r.GPA>>20) {
					t.Fatalf("region %v holds %v", r, b)
				}
			}
		}
		for i := range 20 {
			r, fd := testRegion(t, i)
			m := vhostuser.NewRequest(vhostuser.AddMemReg, vhostuser.SingleRegion(r), fd)
			if err := c.take(&m); err != nil {
				t.Fatal(err)
			}
			install(append(regions[:len(regions):len(regions)], r))
		}
		for len(regions) > 3 {
			install(append(regions[:1:1], regions[2:]...))
		}
		// A table brings everything, also what it has in common with the one before: it may
		// be in other files.
		var fds []int
		for _, r := range regions {
			_, fd := testRegion(t, int(r.GPA>>20))
			fds = append(fds, fd)
		}
		was := current.Table.Regions()[0].Mem
		m := vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable(regions), fds...)
		if err := c.take(&m); err != nil {
			t.Fatal(err)
		}
		install(regions)
		if now := current.Table.Regions()[0].Mem; before && &now[0] == &was[0] {
			t.Error("a table's region is not mapped again")
		}
		// What the session refuses, or cannot map, leaves nothing and harms nothing.
		r, fd := testRegion(t, 100)
		m = vhostuser.NewRequest(vhostuser.AddMemReg, vhostuser.SingleRegion(r), fd)
		if err := c.take(&m); err != nil {
			t.Fatal(err)
		}
		long := r
		long.Size *= 2
		if _, err := c.Map(append(regions[:len(regions):len(regions)], long)); err == nil {
			t.Error("a region without a file is mapped")
		}
		if err := c.sweep(func() []vhostuser.MemoryRegion { return regions }); err != nil {
			t.Fatal(err)
		}
		install(regions)
		// The end of a session.
		if err := current.Unmap(); err != nil {
			t.Fatal(err)
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
		if n := mappings(t); n != 0 {
			t.Errorf("%d regions are left", n)
		}
		if n := ownFiles(t); n != 0 {
			t.Errorf("%d files are open at the end", n)
		}
	}
}

// Two tables in the handling of one message have the same regions.
func TestTablesOfOneMessage(t *testing.T) {
	c := newCarrier(nil, &peerfd.Bin{}, 0)
	r, fd := testRegion(t, 1)
	m := vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{r}, fd)
	if err := c.take(&m); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m, err := c.Map([]vhostuser.MemoryRegion{r})
		if err != nil {
			t.Fatal(err)
		}
		if n := mappings(t); n != 1 {
			t.Errorf("%d mappings of one region", n)
		}
		if err := m.Unmap(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if n := mappings(t); n != 0 {
		t.Errorf("%d regions are left", n)
	}
}

// A session can end on the way from one table to the next, when a front-end cuts memory that
// is looked at just then: nothing of either is left.
func TestTablesThatWereNotUnmapped(t *testing.T) {
	c := newCarrier(nil, &peerfd.Bin{}, 0)
	var regions []vhostuser.MemoryRegion
	for i := range 3 {
		r, fd := testRegion(t, i)
		m := vhostuser.NewRequest(vhostuser.AddMemReg, vhostuser.SingleRegion(r), fd)
		if err := c.take(&m); err != nil {
			t.Fatal(err)
		}
		regions = append(regions, r)
		table, err := c.Map(regions)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if err := errors.Join(table.Unmap(), table.Unmap()); err != nil {
				t.Errorf("unmapped twice: %v", err)
			}
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if n := mappings(t); n != 0 {
		t.Errorf("%d regions are left", n)
	}
	if n := ownFiles(t); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// What regions take of the address space is bounded too: of a file with huge pages much more
// than they have is mapped.
func TestMappingsAreBounded(t *testing.T) {
	c := newCarrier(nil, &peerfd.Bin{}, 0)
	c.memory.most = 2 * 4096
	var regions []vhostuser.MemoryRegion
	add := func(i int) error {
		r, fd := testRegion(t, i)
		r.Size = 1 // a page is mapped
		m := vhostuser.NewRequest(vhostuser.AddMemReg, vhostuser.SingleRegion(r), fd)
		if err := c.take(&m); err != nil {
			t.Fatal(err)
		}
		table, err := c.Map(append(slices.Clone(regions), r))
		if err == nil {
			regions = append(regions, r)
			defer table.Unmap()
		}
		return errors.Join(err, c.sweep(func() []vhostuser.MemoryRegion { return regions }))
	}
	for round := range 3 {
		for i := range 2 {
			if err := add(i); err != nil {
				t.Fatalf("round %d: region %d: %v", round, i, err)
			}
		}
		if err := add(2); err == nil || !strings.Contains(err.Error(), "--max-memory") {
			t.Errorf("round %d: one region too many: %v", round, err)
		}
		if n := mappings(t); n != 2 {
			t.Errorf("round %d: %d regions are mapped", round, n)
		}
		regions = nil
		table, err := c.Map(nil)
		if err := errors.Join(err, table.Unmap(), c.sweep(func() []vhostuser.MemoryRegion { return nil })); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

// The files of a table that cannot take the place of the one before are closed.
func TestFilesOfATableThatFails(t *testing.T) {
	c := newCarrier(nil, &peerfd.Bin{}, 0)
	stuck := &mapping{whole: make([]byte, 1), kept: true} // cannot be unmapped
	c.memory.mapped[vhostuser.MemoryRegion{}], c.memory.all[stuck] = stuck, true
	r, fd := testRegion(t, 1)
	m := vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{r}, fd)
	if err := c.take(&m); err == nil {
		t.Fatal("it goes on")
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if n := ownFiles(t); n != 0 {
		t.Errorf("%d files are open", n)
	}
}
