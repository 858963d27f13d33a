package mem

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// regionCounts are those of the benchmarks: one, as most guests have it, two, as with
// memory above 4 GiB, and what a guest with much memory hotplug has.
var regionCounts = []int{1, 2, 8, 509}

// layout is how n regions of a guest lie, in address order.
type layout struct {
	name string
	at   func(i int) GPA
}

const benchRegion = 4096

var layouts = []layout{
	// As memory is hot-plugged, one piece behind the other.
	{"even", func(i int) GPA { return GPA(i) << 27 }},
	// As close together as can be, and the last one far away.
	{"clustered", func(i int) GPA {
		if i == 508 {
			return 1 << 62
		}
		return GPA(i) * 2 * benchRegion
	}},
	// Each as far away as all those before it together, as long as that goes.
	{"doubling", func(i int) GPA { return 1<<(20+uint(i)/12) + GPA(i%12)*2*benchRegion }},
}

func (l layout) table(tb testing.TB, n int) *Table {
	shared := make([]byte, benchRegion)
	var regions []Region
	for i := range n {
		regions = append(regions, Region{GPA: l.at(i), UVA: uint64(l.at(i)) + 1<<20, Mem: shared})
	}
	t, err := New(regions)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// addresses of buffers, in regions chosen by which.
func (t *Table) addresses(which func(k int) int) []GPA {
	all := make([]GPA, 1024)
	for k := range all {
		all[k] = t.regions[which(k)].GPA + GPA(k%8)*256
	}
	return all
}

// BenchmarkPrefix is a look-up as a ring's buffers make it, in nanoseconds: all in one
// region, in two by turns, and in any.
func BenchmarkPrefix(b *testing.B) {
	for _, n := range regionCounts {
		for _, l := range layouts {
			if n == 1 && l.name != "even" {
				continue
			}
			table := l.table(b, n)
			rnd := rand.New(rand.NewPCG(1, 2))
			for _, w := range []struct {
				name  string
				which func(int) int
			}{
				{"same", func(int) int { return n - 1 }},
				{"alternating", func(k int) int { return k % 2 * (n - 1) }},
				{"any", func(int) int { return rnd.IntN(n) }},
			} {
				if n == 1 && w.name != "same" {
					continue
				}
				addrs := table.addresses(w.which)
				b.Run(fmt.Sprintf("%d-%s/%s", n, l.name, w.name), func(b *testing.B) {
					var last Region
					k := 0
					for b.Loop() {
						if len(table.Prefix(addrs[k&1023], 128, &last)) != 128 {
							b.Fatal("not found")
						}
						k++
					}
				})
			}
		}
	}
}

// BenchmarkFromUser is a look-up as the start of a ring makes three of.
func BenchmarkFromUser(b *testing.B) {
	for _, n := range regionCounts {
		table := layouts[0].table(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			uva := table.regions[n-1].UVA
			for b.Loop() {
				if _, ok := table.FromUser(uva, 64); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

// BenchmarkNew is what one more region costs.
func BenchmarkNew(b *testing.B) {
	for _, n := range regionCounts {
		regions := layouts[0].table(b, n).regions
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := New(regions); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
