package dma

import "sync"

// Pool is the memory of one port. An arena gives nothing back, and a port whose device is
// taken away and comes back needs the same memory again: after Rewind the pool hands out
// once more what it has got from the arena, as far as it fits. So a port takes no more memory
// however often that happens, and needs nothing of the kernel for it.
//
// Safe for concurrent use.
type Pool struct {
	arena allocator

	mu     sync.Mutex
	pieces []piece
}

// allocator is what a pool needs of an Arena.
type allocator interface {
	Alloc(size, align int) (Memory, error)
}

type piece struct {
	mem  Memory
	used bool
}

// NewPool returns a pool without memory.
func NewPool(arena allocator) *Pool { return &Pool{arena: arena} }

// Alloc is Arena.Alloc.
func (p *Pool) Alloc(size, align int) (Memory, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if best := p.best(size, align); best != nil {
		best.used = true
		mem := best.mem.Slice(0, size)
		clear(mem.Bytes)
		return mem, nil
	}
	mem, err := p.arena.Alloc(size, align)
	if err == nil {
		p.pieces = append(p.pieces, piece{mem, true})
	}
	return mem, err
}

// best is the smallest piece that is free and fits, nil if there is none. p.mu is held.
func (p *Pool) best(size, align int) (best *piece) {
	for i := range p.pieces {
		at := &p.pieces[i]
		fits := !at.used && size > 0 && size <= len(at.mem.Bytes) && align > 0 && uint64(at.mem.IOVA)%uint64(align) == 0
		if fits && (best == nil || len(at.mem.Bytes) < len(best.mem.Bytes)) {
			best = at
		}
	}
	return best
}

// Rewind makes all memory of the pool free. No device may reach it any more.
func (p *Pool) Rewind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.pieces {
		p.pieces[i].used = false
	}
}
