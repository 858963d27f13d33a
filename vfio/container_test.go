package vfio

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
)

func TestArenaUsesTheIOMMUsRanges(t *testing.T) {
	m := newMachine(t)
	m.kernel.ranges = [][2]uint64{{0x8000_0000, 0x8fff_ffff}}
	c, d := m.open()
	mem, err := d.Arena().Alloc(4096, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if mem.IOVA != 0x8000_0000 || m.kernel.mapped[0x8000_0000] != 2<<20 {
		t.Errorf("memory at %v, mappings %v", mem.IOVA, m.kernel.mapped)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if len(m.kernel.mapped) != 0 {
		t.Errorf("mappings after Close: %v", m.kernel.mapped)
	}
}

func TestIOVARangesOfOldKernels(t *testing.T) {
	m := newMachine(t)
	m.kernel.ranges = nil
	_, d := m.open()
	ranges, err := d.space.(dma.RangeReporter).IOVARanges()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dma.DefaultRanges(), ranges); diff != "" {
		t.Error(diff)
	}
}

func TestMapNeedsADevice(t *testing.T) {
	m := newMachine(t)
	c, err := m.container()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.spaces[Type1].memory().Alloc(1, 1); err == nil {
		t.Error("memory for no device")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := c.Open(pci.Address{Device: 4}); !errors.Is(err, ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
}

func TestUnmapWhatIsNotMapped(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	space := d.space.(dma.Mapper)
	if err := space.UnmapDMA(0x1000, 4096); err == nil {
		t.Error("the kernel unmapped nothing, and that passes")
	}
	if err := space.MapDMA(nil, 0x1000); err == nil {
		t.Error("nothing is mapped, and that passes")
	}
}
