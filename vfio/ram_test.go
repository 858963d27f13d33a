package vfio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
)

// ramAt is where BAR 2 of the machine's functions is.
const ramAt = 0xfe000000

// devmem is a file that plays /dev/mem.
func (m *machine) devmem() *os.File {
	m.t.Helper()
	m.write(m.sys, "bus/pci/devices/0000:00:04.0/resource", fmt.Sprintf("0x0 0x0 0x0\n0x1000 0x1fff 0x40200\n%#x %#x 0x14220c\n", ramAt, ramAt+16<<30-1))
	f, err := os.OpenFile(filepath.Join(m.t.TempDir(), "mem"), os.O_RDWR|os.O_CREATE, 0o600)
	m.check(err)
	m.check(f.Truncate(ramAt + 1<<20))
	m.t.Cleanup(func() { f.Close() })
	return f
}

// TestMapRAM: parts of a BAR that is mapped as RAM come from that mapping, which lasts until
// Close, also without the file; what is not in it is mapped as before.
func TestMapRAM(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	f := m.devmem()
	if err := d.MapRAM(2, 0x1000, 0x8000, f); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("peer"), ramAt+0x3000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	part, err := d.MapBAR(2, 0x3000, 0x1000)
	if err != nil || string(part[:4]) != "peer" || len(part) != 0x1000 || cap(part) != 0x1000 {
		t.Fatalf("%q, %d bytes of %d, %v", part[:4], len(part), cap(part), err)
	}
	last, err := d.MapBAR(2, 0x8000, 0x1000)
	if err != nil || !d.ram.has(last) {
		t.Errorf("the last page is not a part: %v", err)
	}
	for range 2 {
		if err := d.Unmap(part); err != nil {
			t.Error(err)
		}
	}
	if string(part[:4]) != "peer" {
		t.Error("it is gone")
	}
	for _, r := range [][2]uint64{{0, 0x1000}, {0, 0x2000}, {0x8000, 0x2000}, {0x9000, 0x1000}} {
		outside, err := d.MapBAR(2, r[0], r[1])
		if err != nil || d.ram.has(outside) {
			t.Errorf("%#x bytes at %#x: as RAM %v, %v", r[1], r[0], d.ram.has(outside), err)
		} else if err := d.Unmap(outside); err != nil {
			t.Error(err)
		}
	}
	if err := d.MapRAM(2, 0, 0x1000, f); err == nil {
		t.Error("two mappings of RAM")
	}
	if err := d.Close(); err != nil || d.ram.mem != nil {
		t.Errorf("after Close it is still mapped (%v)", err)
	}
}

func TestMapRAMRefuses(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	f := m.devmem()
	mustBAR(t, d, 1)
	unreadable, err := os.OpenFile(filepath.Join(t.TempDir(), "x"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unreadable.Close()
	for name, try := range map[string]func() error{
		"registers":     func() error { return d.MapRAM(1, 0, 0x1000, f) },
		"no BAR":        func() error { return d.MapRAM(0, 0, 0x1000, f) },
		"half a page":   func() error { return d.MapRAM(2, 0x800, 0x1000, f) },
		"beyond it":     func() error { return d.MapRAM(2, 16<<30, 0x1000, f) },
		"nothing of it": func() error { return d.MapRAM(2, 0, 0, f) },
	} {
		if try() == nil {
			t.Errorf("%s can be mapped", name)
		}
	}
	err = d.MapRAM(2, 0, 0x1000, unreadable)
	var unusable *pci.DeviceError
	if !errors.As(err, &unusable) || !errors.Is(err, unix.EACCES) {
		t.Errorf("what the kernel refuses: %v", err)
	}
}
