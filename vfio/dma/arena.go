package dma

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
)

// ErrClosed is returned by an Arena that has been closed.
var ErrClosed = errors.New("device memory arena is closed")

// ErrHugePages says that 2 MiB pages were required and the kernel has none left.
var ErrHugePages = errors.New("no 2 MiB huge pages left; reserve some: echo 64 > /proc/sys/vm/nr_hugepages, " +
	"or boot the kernel with hugepages=64")

// Alignment is what addresses and sizes of all that an Arena maps are multiples of, in bytes.
const Alignment = hugePageSize

// maxAlloc bounds one allocation: no ring or buffer pool comes near it, so a
// larger request is a mistake.
const maxAlloc = 1 << 30

// ArenaConfig is how an Arena gets its memory. The zero value prefers huge pages
// and silently makes do without.
type ArenaConfig struct {
	// RequireHugePages makes Alloc fail rather than use 4 KiB pages.
	RequireHugePages bool
	// Warn, when set, is called once, when 4 KiB pages have to serve.
	Warn func(err error)
	// ChunkSize is how many bytes the arena grows by at least; rounded up to
	// 2 MiB, which is also the default.
	ChunkSize int
}

// Arena hands out device-visible memory. It grows in chunks, each mapped for the
// devices at addresses of its own, and gives nothing back before Close: rings and
// buffer pools live as long as the port that they belong to.
//
// Safe for concurrent use.
type Arena struct {
	mapper   Mapper
	cfg      ArenaConfig
	pages    pageSource
	physical *Physical // in place of a mapper and a source

	mu     sync.Mutex
	iovas  iovaSpace
	chunks []*chunk
	small  bool // 4 KiB pages had to serve
	closed bool
}

// chunk is one mapping; its first used bytes are handed out.
type chunk struct {
	mem  Memory
	used int
}

// NewArena returns an empty arena that maps through m. It takes no memory before
// the first Alloc.
func NewArena(m Mapper, cfg ArenaConfig) *Arena {
	cfg.ChunkSize = roundUp(max(cfg.ChunkSize, hugePageSize), hugePageSize)
	return &Arena{mapper: m, cfg: cfg, pages: kernelPages{}}
}

// NewPhysicalArena returns an empty arena for devices that see memory where it lies. Its
// memory is that of p, which stays the caller's: to be closed after the arena.
func NewPhysicalArena(p *Physical) *Arena {
	return &Arena{physical: p, cfg: ArenaConfig{ChunkSize: hugePageSize}}
}

// Alloc returns size bytes of zeroed memory, mapped for the devices. Both its
// addresses are multiples of align, a power of two of at most 2 MiB (in IOVA
// space; in this process at most 4 KiB are kept when huge pages are missing).
func (a *Arena) Alloc(size, align int) (Memory, error) {
	if size <= 0 || size > maxAlloc {
		return Memory{}, fmt.Errorf("allocate %d bytes of device memory: want 1 to %d", size, maxAlloc)
	}
	if align <= 0 || bits.OnesCount(uint(align)) != 1 || align > hugePageSize {
		return Memory{}, fmt.Errorf("allocate device memory aligned to %d: want a power of two up to %d", align, hugePageSize)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return Memory{}, ErrClosed
	}
	for _, c := range a.chunks {
		if mem, ok := c.take(size, align); ok {
			return mem, nil
		}
	}
	c, err := a.grow(roundUp(size, a.cfg.ChunkSize))
	if err != nil {
		return Memory{}, err
	}
	mem, _ := c.take(size, align) // a fresh chunk is large and aligned enough
	return mem, nil
}

// HugePages reports whether all memory handed out so far lies in 2 MiB pages.
func (a *Arena) HugePages() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.chunks) > 0 && !a.small
}

// Close takes the memory away from the devices and gives it back. The devices
// must have been reset before. Memory that cannot be unmapped from the IOMMU is
// kept, because a device might still write to it. Closing twice is harmless.
func (a *Arena) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	var errs []error
	for i := len(a.chunks) - 1; i >= 0; i-- {
		c := a.chunks[i]
		if a.physical != nil {
			errs = append(errs, a.physical.release(c.mem))
			continue
		}
		if err := a.mapper.UnmapDMA(c.mem.IOVA, uint64(len(c.mem.Bytes))); err != nil {
			errs = append(errs, fmt.Errorf("unmap memory at %v from the devices: %w", c.mem.IOVA, err))
			continue
		}
		if err := a.pages.release(c.mem.Bytes); err != nil {
			errs = append(errs, fmt.Errorf("release device memory: %w", err))
		}
	}
	a.chunks = nil
	return errors.Join(errs...)
}

// Remap opens all memory to the devices again, at the addresses that it had, when the
// mapper has lost its mappings.
func (a *Arena) Remap() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.physical != nil {
		return nil // nothing stands between them
	}
	for _, c := range a.chunks {
		if err := a.mapper.MapDMA(c.mem.Bytes, c.mem.IOVA); err != nil {
			return fmt.Errorf("map memory at %v for the devices again: %w", c.mem.IOVA, err)
		}
	}
	return nil
}

// grow adds a chunk of n bytes, a multiple of 2 MiB.
func (a *Arena) grow(n int) (*chunk, error) {
	mem, err := a.more(n)
	if err != nil {
		return nil, err
	}
	c := &chunk{mem: mem}
	a.chunks = append(a.chunks, c)
	return c, nil
}

// more is n bytes that devices can reach.
func (a *Arena) more(n int) (Memory, error) {
	if a.physical != nil {
		return a.physical.take(n)
	}
	allowed, err := a.ranges()
	if err != nil {
		return Memory{}, err
	}
	bytes, err := a.take(n)
	if err != nil {
		return Memory{}, err
	}
	iova, err := a.iovas.take(allowed, uint64(n), hugePageSize)
	if err != nil {
		return Memory{}, errors.Join(err, a.pages.release(bytes))
	}
	if err := a.mapper.MapDMA(bytes, iova); err != nil {
		a.iovas.release(iova)
		return Memory{}, errors.Join(fmt.Errorf("map %d bytes of memory for the devices: %w", n, err), a.pages.release(bytes))
	}
	return Memory{Bytes: bytes, IOVA: iova}, nil
}

// take gets pages for a chunk, huge ones if possible.
func (a *Arena) take(n int) ([]byte, error) {
	bytes, err := a.pages.huge(n)
	if err == nil {
		return bytes, nil
	}
	missing := fmt.Errorf("%w (%w)", ErrHugePages, err)
	if a.cfg.RequireHugePages {
		return nil, missing
	}
	if bytes, err = a.pages.small(n); err != nil {
		return nil, err
	}
	if !a.small && a.cfg.Warn != nil {
		a.cfg.Warn(fmt.Errorf("using 4 KiB pages, which are slower to map and to translate: %w", missing))
	}
	a.small = true
	return bytes, nil
}

func (a *Arena) ranges() ([]Range, error) {
	reporter, ok := a.mapper.(RangeReporter)
	if !ok {
		return DefaultRanges(), nil
	}
	ranges, err := reporter.IOVARanges()
	if err != nil {
		return nil, fmt.Errorf("ask the IOMMU which addresses it translates: %w", err)
	}
	return ranges, nil
}

func (c *chunk) take(size, align int) (Memory, bool) {
	start := roundUp(c.used, align)
	if start > len(c.mem.Bytes) || size > len(c.mem.Bytes)-start {
		return Memory{}, false
	}
	c.used = start + size
	return c.mem.Slice(start, size), true
}

// roundUp rounds n up to a multiple of unit.
func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
