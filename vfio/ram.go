package vfio

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
)

// Linux maps BARs through VFIO uncached, because it takes them for registers. Where a BAR is another
// machine's RAM that is slow, on some hosts unbearably so: KVM on AMD honours it, and KVM on Intel does not.
// A mapping of /dev/mem is cached, if no part of the BAR is mapped or accessed through VFIO, and
// if the firmware (MTRRs) has not said otherwise of the place. The kernel says whether it is
// in debugfs, x86/pat_memtype_list.

// ramBAR is a part of a BAR that is mapped as RAM, for as long as the device is open.
type ramBAR struct {
	bar int
	off uint64
	mem []byte
}

// MapRAM maps n bytes at off of BAR i, which must be RAM and nothing else, through devmem, which
// is /dev/mem, opened to read and write. From then on MapBAR hands out parts of this mapping, and
// devmem may be closed: so a process that can reach all of the machine through it need not
// keep it. Of a device that is opened again all starts anew.
func (d *Device) MapRAM(i int, off, n uint64, devmem *os.File) error {
	if err := d.checkMap(i, off, n); err != nil {
		return err
	}
	start, err := d.container.sysfs.BARAddress(d.addr, i)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return ErrClosed
	case d.ram.mem != nil:
		return fmt.Errorf("%v: a BAR is mapped as RAM already", d.addr)
	case d.spaces[i] != nil:
		return fmt.Errorf("%v: BAR %d is mapped as registers already", d.addr, i)
	}
	mem, err := unix.Mmap(int(devmem.Fd()), int64(start+off), int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return &pci.DeviceError{Device: d.addr.String(), Problem: fmt.Sprintf("BAR %d cannot be mapped through %s", i, devmem.Name()), Err: err, Remedy: remedyDevMem(err)}
	}
	d.ram = ramBAR{bar: i, off: off, mem: mem}
	return nil
}

func remedyDevMem(err error) string {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return "boot the kernel with iomem=relaxed"
	}
	return "look into dmesg for the reason"
}

// part is what MapBAR returns of n bytes at off of BAR i, if they are part of the RAM.
func (r *ramBAR) part(i int, off, n uint64) ([]byte, bool) {
	if r.mem == nil || i != r.bar || off < r.off || n > uint64(len(r.mem)) || off-r.off > uint64(len(r.mem))-n {
		return nil, false
	}
	at := off - r.off
	return r.mem[at : at+n : at+n], true
}

// has reports whether mem is a part.
func (r *ramBAR) has(mem []byte) bool {
	if r.mem == nil || len(mem) == 0 {
		return false
	}
	first, start := address(mem), address(r.mem)
	return first >= start && first-start < uintptr(len(r.mem))
}

// unmap ends all parts.
func (r *ramBAR) unmap() error {
	if r.mem == nil {
		return nil
	}
	mem := r.mem
	r.mem = nil
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("unmap BAR memory: %w", err)
	}
	return nil
}
