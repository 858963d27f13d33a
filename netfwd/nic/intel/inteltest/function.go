package inteltest

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/vfio/pci"
)

// Function is the PCI function of a chip: a nic.Function.
type Function struct {
	*Chip
	config  *mmiotest.Fake
	vectors []int
	Vectors int // how many MSI-X vectors it has
	Master  bool
	Deaf    bool // interrupts are lost
	resets  int  // when it last did DMA
}

// NewFunction returns the function of a new chip.
func NewFunction(t testing.TB, kind Kind) *Function {
	f := &Function{Chip: New(kind), config: mmiotest.NewFake(256)}
	f.Vectors, f.resets = f.layout.vectors, f.Resets
	f.config.Poke(pci.OffsetVendor, 2, 0x8086)
	f.config.Poke(pci.OffsetDevice, 2, uint64(f.device))
	f.interrupts = func(vector int) {
		if vector < len(f.vectors) && !f.Deaf {
			unix.Write(f.vectors[vector], []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
	}
	t.Cleanup(func() {
		for _, fd := range f.vectors {
			unix.Close(fd)
		}
	})
	return f
}

// Address is where it is.
func (f *Function) Address() pci.Address { return pci.Address{Device: 4} }

// Config is its configuration space.
func (f *Function) Config() mmio.Space { return f.config }

// ConfigBytes is a copy of that.
func (f *Function) ConfigBytes() ([]byte, error) { return make([]byte, 256), nil }

// Untranslated is whether no IOMMU is between it and memory.
func (f *Function) Untranslated() bool { return false }

// BARSize is the size of BAR i.
func (f *Function) BARSize(i int) uint64 {
	if i == 0 {
		return f.bytes
	}
	return 0
}

// BAR is the chip's registers.
func (f *Function) BAR(i int) (mmio.Space, error) {
	if i != 0 {
		return nil, fmt.Errorf("no BAR %d", i)
	}
	return f.Chip, nil
}

// EnableBusMaster notes that it was called. It fails for a chip that was not reset before: queues
// of whoever drove it last would go on.
func (f *Function) EnableBusMaster() error {
	if f.Resets == f.resets {
		return errors.New("DMA is enabled before the chip is reset")
	}
	f.Master, f.resets = true, f.Resets
	return nil
}

// Reset is not there.
func (f *Function) Reset() error { return errors.ErrUnsupported }

// MSIXCount is how many vectors there are.
func (f *Function) MSIXCount() int { return f.Vectors }

// EnableMSIX makes the first n.
func (f *Function) EnableMSIX(n int) error {
	if n > f.Vectors {
		return fmt.Errorf("%d vectors of %d", n, f.Vectors)
	}
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return err
		}
		f.vectors = append(f.vectors, fd)
	}
	return nil
}

// Vector is the eventfd of one.
func (f *Function) Vector(i int) int {
	if i >= len(f.vectors) {
		return -1
	}
	return f.vectors[i]
}

// Fired takes the interrupts of a vector.
func (f *Function) Fired(i int) bool {
	var b [8]byte
	n, _ := unix.Read(f.vectors[i], b[:])
	return n == 8
}
