package dma

import (
	"errors"
	"sync"
)

// Pool is the memory of one port. An arena gives nothing back, and a port whose device is
// taken away and comes back needs the same memory again: after Rewind the pool hands out
// once more what it has got from the arena, as far as it fits. So a port takes no more memory
// however often that happens, and needs nothing of the kernel for it. A device that asks for
// more each time gets up to growth times what the pool had at the first Rewind.
//
// Safe for concurrent use.
type Pool struct {
	arena allocator

	mu     sync.Mutex
	pieces []piece
	total  int // bytes of all pieces
	limit  int // of total; 0: none yet
}

// growth bounds what a pool takes after the first Rewind: a device may come back with another
// MTU, or larger rings.
const growth = 4

// ErrPoolFull says that a port wants far more memory than it had at first.
var ErrPoolFull = errors.New("the device wants far more memory than it did at the start")

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
	if p.limit > 0 && size > p.limit-p.total {
		return Memory{}, ErrPoolFull
	}
	mem, err := p.arena.Alloc(size, align)
	if err == nil {
		p.pieces = append(p.pieces, piece{mem, true})
		p.total += size
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
	if p.limit == 0 {
		p.limit = growth * p.total
	}
	for i := range p.pieces {
		p.pieces[i].used = false
	}
}
