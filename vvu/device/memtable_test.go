package device

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vvufwd/vvu/vhostuser"
)

func testRAM(t testing.TB, size uint64) *RAMFile {
	t.Helper()
	r, err := CreateRAM(filepath.Join(t.TempDir(), "ram"), size)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// TestPlaceKeepsSlotRule: a driver that computes with the rule of the contract
// finds every region at its file offset, and each region stays the one it was.
func TestPlaceKeepsSlotRule(t *testing.T) {
	const pages = 64
	ram := testRAM(t, pages*pageSize)
	rapid.Check(t, func(t *rapid.T) {
		// Cut the file at random places and keep some of the pieces.
		cuts := rapid.SliceOfNDistinct(rapid.Uint64Range(1, pages-1), 1, maxRegions*2, rapid.ID).Draw(t, "cuts")
		cuts = append(cuts, 0, pages)
		slices.Sort(cuts)
		var table vhostuser.MemoryTable
		where := map[uint64]uint64{} // GPA to file offset
		for i := 0; i+1 < len(cuts) && len(table) < maxRegions; i++ {
			if !rapid.Bool().Draw(t, "keep") && i > 0 {
				continue
			}
			gpa := uint64(i) << 32
			table = append(table, vhostuser.MemoryRegion{GPA: gpa, UVA: gpa + 1<<40, Size: (cuts[i+1] - cuts[i]) * pageSize, Offset: cuts[i] * pageSize})
			where[gpa] = cuts[i] * pageSize
		}
		table = rapid.Permutation(table).Draw(t, "table")
		files := make([]int, len(table))
		for i := range files {
			files[i] = int(ram.file.Fd())
		}
		placed, err := ram.place(table, files)
		if err != nil {
			t.Fatal(err)
		}
		slot := uint64(0)
		for _, r := range placed {
			if at := slot + r.Offset; at != where[r.GPA] {
				t.Fatalf("region at GPA %#x is found at %#x, lies at %#x", r.GPA, at, where[r.GPA])
			}
			if r.UVA != r.GPA+1<<40 {
				t.Fatalf("region %v got mixed up", r)
			}
			slot += r.Offset + r.Size
			delete(where, r.GPA)
		}
		if len(where) != 0 {
			t.Fatalf("regions %v are missing", where)
		}
	})
}

func TestPlaceRefuses(t *testing.T) {
	ram := testRAM(t, 16*pageSize)
	other := testRAM(t, 16*pageSize)
	own, foreign := int(ram.file.Fd()), int(other.file.Fd())
	region := func(offset, size uint64) vhostuser.MemoryRegion {
		return vhostuser.MemoryRegion{GPA: offset, Size: size, UVA: offset, Offset: offset}
	}
	nine := make(vhostuser.MemoryTable, 9)
	for i := range nine {
		nine[i] = region(uint64(i)*pageSize, pageSize)
	}
	for name, c := range map[string]struct {
		table vhostuser.MemoryTable
		files []int
		want  string
	}{
		"empty":        {nil, nil, "0 regions"},
		"too many":     {nine, []int{own, own, own, own, own, own, own, own, own}, "9 regions"},
		"file missing": {vhostuser.MemoryTable{region(0, pageSize), region(pageSize, pageSize)}, []int{own}, "carries 1 file descriptors"},
		"other file":   {vhostuser.MemoryTable{region(0, pageSize)}, []int{foreign}, "--ram"},
		"closed file":  {vhostuser.MemoryTable{region(0, pageSize)}, []int{-1}, "bad file descriptor"},
		"too large":    {vhostuser.MemoryTable{region(0, 17*pageSize)}, []int{own}, "--ram"},
		"wraps":        {vhostuser.MemoryTable{region(pageSize, ^uint64(0))}, []int{own}, "--ram"},
		"no size":      {vhostuser.MemoryTable{region(0, 0)}, []int{own}, "does not fit"},
		"overlap":      {vhostuser.MemoryTable{region(pageSize, 2*pageSize), region(0, pageSize+1)}, []int{own, own}, "overlap"},
	} {
		placed, err := ram.place(c.table, c.files)
		if err == nil || !strings.Contains(err.Error(), c.want) || placed != nil {
			t.Errorf("%s: %v, %v; want %q", name, placed, err, c.want)
		}
	}
}

func TestRAMFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int64) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Truncate(path, size))
		return path
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "none"), "--create-ram"},
		{file("empty", 0), "is empty"},
		{file("odd", 5000), "not a multiple"},
		{dir, "RAM file"},
		{"/dev/null", "not a regular file"},
	} {
		r, err := OpenRAM(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("opening %s: %v, %v; want %q", c.path, r, err, c.want)
		}
	}
	for _, size := range []uint64{0, 4095, 1 << 45} {
		if _, err := CreateRAM(filepath.Join(dir, "new"), size); err == nil {
			t.Errorf("size %d is accepted", size)
		}
	}
	path := filepath.Join(dir, "new")
	for _, size := range []uint64{8192, 4096, 12288} {
		r, err := CreateRAM(path, size)
		must(t, err)
		if r.Size() != size {
			t.Errorf("size is %d, want %d", r.Size(), size)
		}
		must(t, r.Close())
	}
	st, err := os.Stat(path)
	must(t, err)
	if st.Mode().Perm() != 0o600 || st.Size() != 12288 {
		t.Errorf("file has mode %v and %d bytes", st.Mode(), st.Size())
	}
	if _, err := CreateRAM("/dev/null", 4096); err == nil {
		t.Error("/dev/null is accepted")
	}
}
