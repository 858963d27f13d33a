package dma

import (
	"errors"
	"testing"
)

// countingArena hands out memory at rising addresses.
type countingArena struct{ allocs int }

func (a *countingArena) Alloc(size, _ int) (Memory, error) {
	a.allocs++
	return Memory{Bytes: make([]byte, size), IOVA: IOVA(a.allocs) << 20}, nil
}

// TestPool: the same requests after Rewind get the same memory, zeroed, in whatever order;
// others get what fits; only what does not is new.
func TestPool(t *testing.T) {
	arena := &countingArena{}
	p := NewPool(arena)
	get := func(size int) Memory {
		t.Helper()
		m, err := p.Alloc(size, 4096)
		if err != nil || len(m.Bytes) != size {
			t.Fatalf("%d bytes: got %d, %v", size, len(m.Bytes), err)
		}
		return m
	}
	small, large := get(100), get(8192)
	small.Bytes[7], large.Bytes[8191] = 1, 1
	if more := get(100); more.IOVA == small.IOVA || arena.allocs != 3 {
		t.Fatalf("memory that is in use was handed out again: %v", more.IOVA)
	}
	for range 3 {
		p.Rewind()
		again := get(8192)
		if again.IOVA != large.IOVA || again.Bytes[8191] != 0 {
			t.Errorf("got %v with %d at its end, want %v, zeroed", again.IOVA, again.Bytes[8191], large.IOVA)
		}
		if first := get(100); first.IOVA != small.IOVA || first.Bytes[7] != 0 {
			t.Errorf("got %v with %d in it, want %v, zeroed", first.IOVA, first.Bytes[7], small.IOVA)
		}
		get(50)
		if arena.allocs != 3 {
			t.Fatalf("%d pieces were taken from the arena, want 3", arena.allocs)
		}
	}
	if m := get(200); arena.allocs != 4 || m.IOVA == large.IOVA {
		t.Error("a request that does not fit got memory that is in use")
	}
}

// TestPoolStaysBounded: a device that asks for a little more each time it is opened, a thousand
// times, does not eat the machine's memory, and one that asks for the same gets no more at all.
func TestPoolStaysBounded(t *testing.T) {
	for _, more := range []int{0, 64} {
		arena := &countingArena{}
		p := NewPool(arena)
		p.Rewind() // of an empty pool says nothing
		total, refused := 0, 0
		for i := range 1000 {
			for range 4 {
				before := arena.allocs
				m, err := p.Alloc(4096+i*more, 64)
				if errors.Is(err, ErrPoolFull) {
					refused++
				}
				if arena.allocs > before {
					total += len(m.Bytes)
				}
			}
			p.Rewind()
		}
		if most := 4 * 4096 * growth; total > most || more == 0 && (total != 4*4096 || refused > 0) {
			t.Errorf("%d more each time: %d bytes were taken in the end, of %d; %d refused", more, total, most, refused)
		}
	}
}
