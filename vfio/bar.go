package vfio

import (
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/uapi"
)

// BARSize is the size of BAR i in bytes, 0 when it does not exist. The upper half
// of a 64-bit BAR does not exist.
func (d *Device) BARSize(i int) uint64 {
	if i < 0 || i >= len(d.bars) {
		return 0
	}
	return d.bars[i].size
}

// BAR is BAR i as registers. Up to 16 MiB are mapped at once, except for what the
// kernel does not let be mapped, which works all the same. Of a larger BAR the pages
// of a part are mapped when mmio.Sub cuts it off. All mappings last until Close.
func (d *Device) BAR(i int) (mmio.Space, error) {
	r, err := d.bar(i)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	if d.spaces[i] == nil {
		if d.spaces[i], err = newBARSpace(d, r); err != nil {
			return nil, err
		}
	}
	return d.spaces[i], nil
}

// MapBAR maps n bytes at off of BAR i as memory; both are multiples of the page
// size. What it covers is shared with the device: copy before checking. The slice
// is valid until Unmap or Close. What MapRAM has mapped it hands out of that.
func (d *Device) MapBAR(i int, off, n uint64) ([]byte, error) {
	if err := d.checkMap(i, off, n); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if mem, ok := d.ram.part(i, off, n); ok && !d.closed {
		return mem, nil
	}
	return d.mapRegion(&d.bars[i], off, n)
}

// checkMap checks that n bytes at off of BAR i can be mapped.
func (d *Device) checkMap(i int, off, n uint64) error {
	r, err := d.bar(i)
	if err != nil {
		return err
	}
	if off%pageSize != 0 || n%pageSize != 0 || n == 0 {
		return fmt.Errorf("%v: map 0x%x bytes at 0x%x of %s: want multiples of the page size, 0x%x", d.addr, n, off, r.name, pageSize)
	}
	if off > r.size || n > r.size-off {
		return fmt.Errorf("%v: map 0x%x bytes at 0x%x of %s: it has only 0x%x bytes", d.addr, n, off, r.name, r.size)
	}
	if _, ok := r.mappable(off, n); !ok {
		return fmt.Errorf("%v: map 0x%x bytes at 0x%x of %s: the kernel does not allow mapping this part", d.addr, n, off, r.name)
	}
	return nil
}

// Unmap undoes a MapBAR; mem is exactly what that returned. What is a part of MapRAM's mapping
// stays mapped until Close.
func (d *Device) Unmap(mem []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if d.ram.has(mem) {
		return nil // it lasts until Close
	}
	for i, m := range d.mappings {
		if len(mem) != len(m) || &mem[0] != &m[0] {
			continue
		}
		d.mappings = append(d.mappings[:i], d.mappings[i+1:]...)
		if err := unix.Munmap(m); err != nil {
			return fmt.Errorf("%v: unmap BAR memory: %w", d.addr, err)
		}
		return nil
	}
	return fmt.Errorf("%v: unmap %d bytes that MapBAR did not return", d.addr, len(mem))
}

func (d *Device) bar(i int) (*region, error) {
	if d.BARSize(i) == 0 {
		return nil, fmt.Errorf("%v: it has no BAR %d (there can be %d)", d.addr, i, uapi.PCIBAR5Region+1)
	}
	return &d.bars[i], nil
}

// mapRegion maps n bytes at off, which the caller has checked to be mappable, and
// keeps the mapping for Close. The caller holds d.mu.
func (d *Device) mapRegion(r *region, off, n uint64) ([]byte, error) {
	if d.closed {
		return nil, ErrClosed
	}
	mem, err := unix.Mmap(d.fd, int64(r.offset+off), int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%v: map 0x%x bytes at 0x%x of %s: %w", d.addr, n, off, r.name, err)
	}
	d.mappings = append(d.mappings, mem)
	return mem, nil
}
