package dma

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Physical is memory for devices that no IOMMU translates for: huge pages of which it is
// known where they lie in the machine's memory. Where a page lies takes CAP_SYS_ADMIN to
// find out, so all pages are taken at once, before that is given up; a process that has
// less rights gets them by InheritPhysical.
//
// Huge pages stay where they are: the kernel neither swaps nor compacts them, unless it is
// told to take that stretch of memory offline.
//
// Safe for concurrent use.
type Physical struct {
	file *os.File

	mu    sync.Mutex
	pages []page // sorted by address
}

// page is one of 2 MiB.
type page struct {
	at    IOVA // physical, which is what devices are told
	index int  // in the file
	used  bool
}

// TakePhysical takes n huge pages, or as many as there are, but at least one.
func TakePhysical(n int) (*Physical, error) {
	fd, err := unix.MemfdCreate("dma", unix.MFD_CLOEXEC|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrHugePages, os.NewSyscallError("memfd_create", err))
	}
	file := os.NewFile(uintptr(fd), "DMA memory")
	mem, err := fill(file, n)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	places, err := locate(mem)
	err = errors.Join(err, unix.Munmap(mem)) // the file keeps the pages
	var p *Physical
	if err == nil {
		p, err = InheritPhysical(file, places)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return p, nil
}

// fill makes up to n pages of a file in hugetlbfs and maps them.
func fill(file *os.File, n int) ([]byte, error) {
	if err := file.Truncate(int64(n) * hugePageSize); err != nil {
		return nil, fmt.Errorf("take %d huge pages: %w", n, err)
	}
	mem, n, err := most(n, func(n int) ([]byte, error) {
		// The kernel sets all pages aside here or fails, so that touching them cannot.
		return unix.Mmap(int(file.Fd()), 0, n*hugePageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	})
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(mem); i += hugePageSize {
		mem[i] = 0 // now it is there
	}
	return mem, file.Truncate(int64(n) * hugePageSize)
}

// most maps n pages, or as many as can be mapped, and tells how many these are.
func most(n int, try func(n int) ([]byte, error)) ([]byte, int, error) {
	mem, err := try(n)
	if err == nil {
		return mem, n, nil
	}
	few, many := 0, n // few are mapped, many cannot be
	for many > few+1 {
		middle := (few + many) / 2
		more, failed := try(middle)
		if failed != nil {
			many, err = middle, failed
			continue
		}
		if mem != nil {
			if err := unix.Munmap(mem); err != nil {
				return nil, 0, err
			}
		}
		mem, few = more, middle
	}
	if few == 0 {
		return nil, 0, fmt.Errorf("%w (map %d pages: %w)", ErrHugePages, many, err)
	}
	return mem, few, nil
}

// ErrNoLocation says that the kernel does not tell where memory lies.
var ErrNoLocation = errors.New("the kernel tells where memory lies only to who has CAP_SYS_ADMIN: run as root")

// What /proc/self/pagemap says of a page, see Documentation/admin-guide/mm/pagemap.rst.
const (
	pagemapEntry   = 8 // bytes a page
	pagemapPresent = 1 << 63
	pagemapFrame   = 1<<55 - 1
)

// locate tells where each huge page of mem lies.
func locate(mem []byte) ([]IOVA, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, fmt.Errorf("find out where memory lies: %w", err)
	}
	defer f.Close()
	return locateIn(f, addressOf(mem), len(mem)/hugePageSize, os.Getpagesize())
}

// locateIn reads a pagemap, of pages of pageSize bytes, for n huge pages from an address on.
func locateIn(pagemap io.ReaderAt, address uint64, n, pageSize int) ([]IOVA, error) {
	places := make([]IOVA, n)
	for i := range places {
		var entry [pagemapEntry]byte
		at := (address + uint64(i)*hugePageSize) / uint64(pageSize) * pagemapEntry
		if _, err := pagemap.ReadAt(entry[:], int64(at)); err != nil {
			return nil, fmt.Errorf("find out where memory lies: %w", err)
		}
		v := binary.NativeEndian.Uint64(entry[:])
		frame := v & pagemapFrame
		switch {
		case v&pagemapPresent == 0:
			return nil, errors.New("find out where memory lies: a huge page is not in memory")
		case frame == 0:
			return nil, ErrNoLocation
		}
		places[i] = IOVA(frame * uint64(pageSize))
	}
	return places, nil
}

// InheritPhysical is memory that another process has taken with TakePhysical: its File and
// its Places. It takes the file over if it succeeds.
func InheritPhysical(file *os.File, places []IOVA) (*Physical, error) {
	p := &Physical{file: file}
	for i, at := range places {
		if at == 0 || at%hugePageSize != 0 || at > ^IOVA(0)-hugePageSize {
			return nil, fmt.Errorf("find out where memory lies: huge page %d would lie at %v", i, at)
		}
		p.pages = append(p.pages, page{at: at, index: i})
	}
	slices.SortFunc(p.pages, func(a, b page) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(p.pages); i++ {
		if p.pages[i].at == p.pages[i-1].at {
			return nil, fmt.Errorf("find out where memory lies: two huge pages would lie at %v", p.pages[i].at)
		}
	}
	if len(p.pages) == 0 {
		return nil, ErrHugePages
	}
	return p, nil
}

// File holds the pages, for another process.
func (p *Physical) File() *os.File { return p.file }

// Places are where the pages of File lie, in its order.
func (p *Physical) Places() []IOVA {
	places := make([]IOVA, len(p.pages))
	for _, g := range p.pages {
		places[g.index] = g.at
	}
	return places
}

// take maps n bytes, a multiple of 2 MiB, that lie in one piece in the machine's memory.
func (p *Physical) take(n int) (Memory, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	run := p.free(n / hugePageSize)
	if run == nil {
		return Memory{}, fmt.Errorf("%w (%d that lie side by side are wanted)", ErrHugePages, n/hugePageSize)
	}
	mem, err := mapPages(p.file, run)
	if err != nil {
		return Memory{}, err
	}
	for i := range run {
		run[i].used = true
	}
	clear(mem)
	return Memory{Bytes: mem, IOVA: run[0].at}, nil
}

// free finds n free pages side by side; of several places the smallest, so that what is
// long stays whole.
func (p *Physical) free(n int) []page {
	var best []page
	for i := 0; i < len(p.pages); {
		j := i
		for ; j < len(p.pages) && !p.pages[j].used && p.pages[j].at == p.pages[i].at+IOVA(j-i)*hugePageSize; j++ {
		}
		if run := p.pages[i:j]; len(run) >= n && (best == nil || len(run) < len(best)) {
			best = run
		}
		i = max(j, i+1)
	}
	if best == nil {
		return nil
	}
	return best[:n]
}

// release gives back what take returned.
func (p *Physical) release(mem Memory) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.pages {
		if at := p.pages[i].at; at >= mem.IOVA && at-mem.IOVA < IOVA(len(mem.Bytes)) {
			p.pages[i].used = false
		}
	}
	return unmapPages(mem.Bytes)
}

// Close gives all pages back to the kernel. No device may reach them any more.
func (p *Physical) Close() error {
	if p == nil {
		return nil
	}
	return p.file.Close()
}
