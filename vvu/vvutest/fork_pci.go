package vvutest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
	"vvufwd/virtio/mem"
)

// Untranslated, Address, ConfigBytes, BARSize, BAR, MapBAR, Unmap, EnableBusMaster, MSIXCount,
// EnableMSIX and Vector are those of a function opened through VFIO.
func (f *Fork) Untranslated() bool { return false }

// Address is where it is.
func (f *Fork) Address() pci.Address { return pci.Address{Device: 5} }

// ConfigBytes returns the configuration space.
func (f *Fork) ConfigBytes() ([]byte, error) { return append([]byte(nil), f.pci...), nil }

// BARSize returns the size of a BAR in bytes.
func (f *Fork) BARSize(i int) uint64 {
	switch i {
	case barResources:
		return f.cfg.BARSize
	case barRegisters:
		return barRegistersSize
	}
	return 0
}

// BAR returns the registers of a BAR.
func (f *Fork) BAR(i int) (mmio.Space, error) {
	switch i {
	case barResources:
		return f.resources, nil
	case barRegisters:
		return f.registers, nil
	}
	return nil, fmt.Errorf("no BAR %d", i)
}

// MapBAR maps a part of BAR 2.
func (f *Fork) MapBAR(i int, offset, size uint64) ([]byte, error) {
	if i != barResources {
		return nil, fmt.Errorf("BAR %d cannot be mapped", i)
	}
	return f.bar.view(offset, size)
}

// Unmap gives a mapping back.
func (f *Fork) Unmap(m []byte) error { return f.bar.release(m) }

// EnableBusMaster lets the device reach memory; it always does.
func (f *Fork) EnableBusMaster() error { return nil }

// MSIXCount is the number of vectors.
func (f *Fork) MSIXCount() int { return f.cfg.Vectors }

// EnableMSIX makes the first n vectors eventfds.
func (f *Fork) EnableMSIX(n int) error {
	if n > f.cfg.Vectors {
		return fmt.Errorf("%d vectors of %d", n, f.cfg.Vectors)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fd := range f.vectors {
		unix.Close(fd)
	}
	f.vectors = nil
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return err
		}
		f.vectors = append(f.vectors, fd)
	}
	return nil
}

// Vector is the eventfd of a vector.
func (f *Fork) Vector(i int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.vectors[i]
}

// Alloc hands out memory of the driver VM. It is of the Go heap, so that the race
// detector watches what driver and device do with it.
func (f *Fork) Alloc(size, align int) (dma.Memory, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := dma.Memory{Bytes: alignedHeap(size), IOVA: dma.IOVA(f.nextIOVA)}
	f.nextIOVA += uint64(size+0xfff) &^ 0xfff
	f.driverRAM = append(f.driverRAM, mem.Region{GPA: mem.GPA(m.IOVA), Mem: m.Bytes})
	return m, nil
}

// useVector gives a vector to a source whose register held old, and returns what
// the register keeps. The use of old is given up first, even if it is a number
// from before a reset, when it may be someone else's by now (contract 6.3). mu is
// held.
func (f *Fork) useVector(old, v uint16) uint16 {
	if int(old) < len(f.uses) && f.uses[old] > 0 {
		f.uses[old]--
	}
	if int(v) >= len(f.uses) {
		return virtio.NoVector
	}
	f.uses[v]++
	return v
}

func (f *Fork) setRingVector(ring int, v uint16) {
	if f.refuseVectors {
		v = virtio.NoVector
	}
	f.rings[ring].vector = f.useVector(f.rings[ring].vector, v)
}

// interrupt raises a vector; one that no one was given is lost. mu is held.
func (f *Fork) interrupt(v uint16) {
	if int(v) < len(f.vectors) && f.uses[v] > 0 {
		signal(f.vectors[v])
	}
}

// LeaveVector puts a vector number into a ring's notification register without
// using it, as an earlier driver leaves it behind that did not clear it before its
// reset.
func (f *Fork) LeaveVector(ring int, v uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rings[ring].vector = v
}

// RingVector returns the vector number in a ring's notification register.
func (f *Fork) RingVector(ring int) uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rings[ring].vector
}
