package dma

import "testing"

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
