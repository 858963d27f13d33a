package dma

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// recordingMapper keeps the mappings it was asked for.
type recordingMapper struct {
	mu       sync.Mutex
	mapped   map[IOVA]int
	unmapped []IOVA
	mapErr   error
	unmapErr error
	ranges   []Range
}

func (m *recordingMapper) MapDMA(mem []byte, iova IOVA) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mapErr != nil {
		return m.mapErr
	}
	if m.mapped == nil {
		m.mapped = map[IOVA]int{}
	}
	m.mapped[iova] = len(mem)
	return nil
}

func (m *recordingMapper) UnmapDMA(iova IOVA, size uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unmapErr != nil {
		return m.unmapErr
	}
	if m.mapped[iova] != int(size) {
		return errors.New("no such mapping")
	}
	delete(m.mapped, iova)
	m.unmapped = append(m.unmapped, iova)
	return nil
}

func (m *recordingMapper) IOVARanges() ([]Range, error) { return m.ranges, nil }

// testPages takes ordinary pages for huge ones, while there are any.
type testPages struct {
	kernelPages
	hugeLeft int // pages
	held     int // mappings
}

func (p *testPages) huge(n int) ([]byte, error) {
	if n > p.hugeLeft*hugePageSize {
		return nil, unix.ENOMEM
	}
	p.hugeLeft -= n / hugePageSize
	return p.small(n)
}

func (p *testPages) small(n int) ([]byte, error) {
	mem, err := p.kernelPages.small(n)
	if err == nil {
		p.held++
	}
	return mem, err
}

func (p *testPages) release(mem []byte) error {
	p.held--
	return p.kernelPages.release(mem)
}

func newTestArena(cfg ArenaConfig, hugePages int) (*Arena, *recordingMapper, *testPages) {
	m := &recordingMapper{ranges: DefaultRanges()}
	p := &testPages{hugeLeft: hugePages}
	a := NewArena(m, cfg)
	a.pages = p
	return a, m, p
}

func TestAllocGivesZeroedAlignedDisjointMemory(t *testing.T) {
	a, m, p := newTestArena(ArenaConfig{}, 100)
	var pieces []Memory
	for _, c := range []struct{ size, align int }{
		{1, 1}, {16, 16}, {100, 4096}, {4096, 4096}, {2 << 20, 2 << 20}, {3 << 20, 4096}, {7, 2}, {1 << 20, 64},
	} {
		mem, err := a.Alloc(c.size, c.align)
		if err != nil {
			t.Fatal(err)
		}
		if len(mem.Bytes) != c.size || cap(mem.Bytes) != c.size {
			t.Errorf("asked for %d bytes, got %d with capacity %d", c.size, len(mem.Bytes), cap(mem.Bytes))
		}
		if uint64(mem.IOVA)%uint64(c.align) != 0 {
			t.Errorf("IOVA %v is not aligned to %d", mem.IOVA, c.align)
		}
		if at := uintptr(unsafe.Pointer(&mem.Bytes[0])); at%uintptr(min(c.align, 4096)) != 0 {
			t.Errorf("address 0x%x is not aligned to %d", at, c.align)
		}
		for _, b := range mem.Bytes {
			if b != 0 {
				t.Fatal("memory is not zeroed")
			}
		}
		for i := range mem.Bytes {
			mem.Bytes[i] = 0xaa // shows in a later piece if they overlap
		}
		for _, other := range pieces {
			mine, theirs := Range{mem.IOVA, mem.IOVA + IOVA(len(mem.Bytes)-1)}, Range{other.IOVA, other.IOVA + IOVA(len(other.Bytes)-1)}
			if overlaps(mine, theirs) {
				t.Errorf("%v overlaps %v", mine, theirs)
			}
		}
		pieces = append(pieces, mem)
	}
	if !a.HugePages() {
		t.Error("there were huge pages enough, and they were not used")
	}
	for iova, size := range m.mapped {
		if uint64(iova)%hugePageSize != 0 || size%hugePageSize != 0 {
			t.Errorf("mapping of %d bytes at %v is not made of huge pages", size, iova)
		}
	}
	chunks := len(m.mapped)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if len(m.mapped) != 0 || len(m.unmapped) != chunks || p.held != 0 {
		t.Errorf("after Close %d mappings and %d chunks of memory are left", len(m.mapped), p.held)
	}
	if _, err := a.Alloc(1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Alloc after Close: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestAllocShareAChunk(t *testing.T) {
	a, m, _ := newTestArena(ArenaConfig{}, 1)
	defer a.Close()
	for range 32 {
		if _, err := a.Alloc(64<<10, 4096); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.mapped) != 1 {
		t.Errorf("2 MiB of small pieces took %d mappings", len(m.mapped))
	}
}

func TestWithoutHugePages(t *testing.T) {
	var warnings []error
	a, _, _ := newTestArena(ArenaConfig{Warn: func(err error) { warnings = append(warnings, err) }}, 1)
	defer a.Close()
	for range 3 {
		if _, err := a.Alloc(2<<20, 4096); err != nil {
			t.Fatal(err)
		}
	}
	if a.HugePages() {
		t.Error("huge pages ran out, and HugePages does not say so")
	}
	if len(warnings) != 1 || !errors.Is(warnings[0], ErrHugePages) || !strings.Contains(warnings[0].Error(), "nr_hugepages") {
		t.Errorf("warnings: %v", warnings)
	}
}

func TestHugePagesRequired(t *testing.T) {
	a, m, p := newTestArena(ArenaConfig{RequireHugePages: true}, 1)
	defer a.Close()
	if _, err := a.Alloc(4096, 4096); err != nil {
		t.Fatal(err)
	}
	_, err := a.Alloc(2<<20, 4096)
	if !errors.Is(err, ErrHugePages) || !errors.Is(err, unix.ENOMEM) {
		t.Errorf("error: %v", err)
	}
	if len(m.mapped) != 1 || p.held != 1 {
		t.Errorf("the failure left %d mappings, %d chunks", len(m.mapped), p.held)
	}
}

func TestAllocRefusesNonsense(t *testing.T) {
	a, m, _ := newTestArena(ArenaConfig{}, 1)
	for _, c := range []struct{ size, align int }{{0, 1}, {-1, 1}, {1, 0}, {1, 3}, {1, -4}, {1, 4 << 20}, {maxAlloc + 1, 1}} {
		if _, err := a.Alloc(c.size, c.align); err == nil {
			t.Errorf("Alloc(%d, %d) succeeds", c.size, c.align)
		}
	}
	if len(m.mapped) != 0 {
		t.Error("nonsense took memory")
	}
}

func TestFailuresLeaveNothingBehind(t *testing.T) {
	a, m, p := newTestArena(ArenaConfig{}, 100)
	m.mapErr = unix.ENOMEM
	if _, err := a.Alloc(1, 1); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("error: %v", err)
	}
	m.mapErr, m.ranges = nil, []Range{{0, 0xfffff}}
	if _, err := a.Alloc(1, 1); err == nil {
		t.Error("an address from nowhere")
	}
	if p.held != 0 || len(a.iovas.used) != 0 {
		t.Errorf("%d chunks and %d addresses are still taken", p.held, len(a.iovas.used))
	}
}

// TestCloseKeepsWhatDevicesMayReach: memory is not given back to the kernel while
// the IOMMU still lets devices at it.
func TestCloseKeepsWhatDevicesMayReach(t *testing.T) {
	a, m, p := newTestArena(ArenaConfig{}, 100)
	if _, err := a.Alloc(1, 1); err != nil {
		t.Fatal(err)
	}
	m.unmapErr = unix.EIO
	if err := a.Close(); !errors.Is(err, unix.EIO) {
		t.Errorf("error: %v", err)
	}
	if p.held != 1 {
		t.Error("memory that devices can reach was released")
	}
}

// TestKernelPages takes real memory; whether the machine has huge pages or not, one
// of the two ways works.
func TestKernelPages(t *testing.T) {
	a := NewArena(&recordingMapper{ranges: DefaultRanges()}, ArenaConfig{})
	mem, err := a.Alloc(3<<20, 4096)
	if err != nil {
		t.Fatal(err)
	}
	mem.Bytes[len(mem.Bytes)-1] = 1
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAllocConcurrently(t *testing.T) {
	a, _, _ := newTestArena(ArenaConfig{}, 100)
	defer a.Close()
	var (
		mu   sync.Mutex
		seen = map[IOVA]bool{}
		wg   sync.WaitGroup
	)
	for range 4 {
		wg.Go(func() {
			for range 200 {
				mem, err := a.Alloc(4096, 4096)
				mu.Lock()
				if err != nil || seen[mem.IOVA] {
					t.Errorf("%v handed out twice, or error %v", mem.IOVA, err)
				}
				seen[mem.IOVA] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestMemorySlice(t *testing.T) {
	m := Memory{Bytes: make([]byte, 100), IOVA: 0x1000}
	s := m.Slice(10, 20)
	if s.IOVA != 0x100a || len(s.Bytes) != 20 || cap(s.Bytes) != 20 || &s.Bytes[0] != &m.Bytes[10] {
		t.Errorf("%v, %d bytes, capacity %d", s.IOVA, len(s.Bytes), cap(s.Bytes))
	}
}
