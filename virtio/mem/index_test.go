package mem

import (
	"math"
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// anyRegions draws up to n regions, somewhere, next to each other, crowded or spread.
func anyRegions(t *rapid.T, n int) (regions []Region) {
	shared := make([]byte, 1<<16)
	end, wrapped := GPA(0), false
	for range rapid.IntRange(1, n).Draw(t, "regions") {
		gap := GPA(rapid.Uint64Range(0, 1<<rapid.UintRange(0, 62).Draw(t, "gap bits")).Draw(t, "gap"))
		size := rapid.IntRange(1, len(shared)).Draw(t, "size")
		at := end + gap
		if wrapped = wrapped || at < end || uint64(at) > math.MaxUint64-uint64(size); wrapped {
			break
		}
		regions = append(regions, Region{GPA: at, Mem: shared[:size]})
		end = at + GPA(size)
	}
	if len(regions) == 0 {
		regions = []Region{{GPA: 0, Mem: shared[:1]}}
	}
	return regions
}

// linear is find without an index.
func linear(regions []Region, addr GPA) int {
	for i := range regions {
		if uint64(addr-regions[i].GPA) < uint64(len(regions[i].Mem)) {
			return i
		}
	}
	return -1
}

func TestIndexFindsWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := anyRegions(t, 60)
		table, err := New(regions)
		if err != nil {
			t.Fatal(err)
		}
		for i := range regions {
			r := &regions[i]
			end := r.GPA + GPA(len(r.Mem))
			for _, addr := range []GPA{r.GPA - 1, r.GPA, end - 1, end, r.GPA + GPA(rapid.IntRange(0, len(r.Mem)).Draw(t, "offset"))} {
				if got, want := table.find(addr), linear(table.regions, addr); got != want {
					t.Fatalf("%#x is found in region %d, want %d", addr, got, want)
				}
			}
		}
		for range 20 {
			addr := GPA(rapid.Uint64().Draw(t, "address"))
			if got, want := table.find(addr), linear(table.regions, addr); got != want {
				t.Fatalf("%#x is found in region %d, want %d", addr, got, want)
			}
		}
	})
}

// steps is how often a look-up halves the regions of a cell, at most.
func (x *index) steps() (most int) {
	for c := range len(x.first) - 1 {
		most = max(most, bits.Len(uint(x.first[c+1]-x.first[c])))
	}
	return most
}

// However many regions there are and however they lie, a look-up takes few steps, and the
// index little memory.
func TestIndexIsBounded(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 64, 509} {
		for _, l := range layouts {
			x := l.table(t, n).index
			if most := x.steps(); l.name == "even" && most > 1 || most > 9 {
				t.Errorf("%d regions, %s: a look-up takes %d steps", n, l.name, most)
			}
			if len(x.first) > maxCells+1 {
				t.Errorf("%d regions, %s: %d cells", n, l.name, len(x.first)-1)
			}
		}
	}
	// A vfio-user client can map every page by itself.
	shared := make([]byte, 1)
	var regions []Region
	for i := range maxIndexed - 1 { // as many as package vfiouser takes
		regions = append(regions, Region{GPA: GPA(i) << 12, Mem: shared})
	}
	table, err := New(regions)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 30000, 65533, 65534} {
		if got := table.find(GPA(i) << 12); got != i {
			t.Errorf("page %d is found in region %d", i, got)
		}
	}
	if len(table.index.first) > maxCells+1 {
		t.Errorf("%d cells", len(table.index.first)-1)
	}
	if _, err := New(append(regions, Region{GPA: 1 << 40, Mem: shared}, Region{GPA: 1 << 41, Mem: shared})); err == nil {
		t.Error("a table has more regions than its index can tell apart")
	}
}

func TestEmptyTable(t *testing.T) {
	table, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []GPA{0, 1, math.MaxUint64} {
		if b, ok := table.View(addr, 1); ok || b != nil {
			t.Errorf("an empty table has memory at %#x", addr)
		}
	}
}

func TestLookUpDoesNotAllocate(t *testing.T) {
	table := layouts[0].table(t, 509)
	var last Region
	k := 0
	if n := testing.AllocsPerRun(1000, func() {
		k++
		table.Near(table.regions[k*193%509].GPA, &last)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if table.Near(1<<50, &last) || last.Mem == nil {
		t.Error("a region was found where none is, or forgotten")
	}
}
