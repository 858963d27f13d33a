package vfio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

func TestConfigSpace(t *testing.T) {
	m := newMachine(t)
	m.kernel.poke(t, uapi.PCIConfigRegion, 0, 0xf4, 0x1a, 0x58, 0x10)
	_, d := m.open()
	if v := d.Config().Load32(0); v != 0x10581af4 {
		t.Errorf("id 0x%x", v)
	}
	config, err := d.ConfigBytes()
	if err != nil || len(config) != 4096 || !bytes.Equal(config[:4], []byte{0xf4, 0x1a, 0x58, 0x10}) {
		t.Errorf("%d bytes, %v: %v", len(config), err, config[:4])
	}
}

func (m *machine) command() uint16 {
	return binary.LittleEndian.Uint16(m.kernel.peek(m.t, uapi.PCIConfigRegion, pci.OffsetCommand, 2))
}

// TestCommandRegister: memory is enabled by opening, bus mastering only by request,
// other bits are kept, and Close stops DMA.
func TestCommandRegister(t *testing.T) {
	m := newMachine(t)
	m.kernel.poke(t, uapi.PCIConfigRegion, pci.OffsetCommand, 0x00, 0x04)
	_, d := m.open()
	if c := m.command(); c != 0x0402 {
		t.Errorf("after Open: 0x%04x", c)
	}
	if err := d.EnableBusMaster(); err != nil {
		t.Fatal(err)
	}
	if c := m.command(); c != 0x0406 {
		t.Errorf("after EnableBusMaster: 0x%04x", c)
	}
	if err := d.DisableBusMaster(); err != nil || m.command() != 0x0402 {
		t.Errorf("after DisableBusMaster: 0x%04x, %v", m.command(), err)
	}
	if err := d.EnableBusMaster(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if c := m.command(); c != 0x0402 {
		t.Errorf("after Close: 0x%04x", c)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := d.EnableBusMaster(); !errors.Is(err, ErrClosed) {
		t.Errorf("EnableBusMaster after Close: %v", err)
	}
}

// exercise stores in all widths and compares with the device's file.
func exercise(t *testing.T, m *machine, bar uint32, base uint64, s mmio.Space) {
	t.Helper()
	s.Store8(0, 0x11)
	s.Store16(2, 0x2233)
	s.Store32(4, 0x44556677)
	s.Store64(8, 0x8899aabbccddeeff)
	want := []byte{0x11, 0, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88}
	if got := m.kernel.peek(t, bar, base, 16); !bytes.Equal(got, want) {
		t.Errorf("stored %x, want %x", got, want)
	}
	if s.Load8(0) != 0x11 || s.Load16(2) != 0x2233 || s.Load32(4) != 0x44556677 || s.Load64(8) != 0x8899aabbccddeeff {
		t.Error("what was stored is not loaded")
	}
}

func mustBAR(t *testing.T, d *Device, i int) mmio.Space {
	t.Helper()
	s, err := d.BAR(i)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSub(t *testing.T, s mmio.Space, off, n uint64) mmio.Space {
	t.Helper()
	part, err := mmio.Sub(s, off, n)
	if err != nil {
		t.Fatal(err)
	}
	return part
}

func TestBARAccess(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	for _, c := range []struct {
		name   string
		bar    int
		off, n uint64
		mapped bool // the part is a Window
	}{
		{"mapped", 0, 0x1000, 0x1000, true},
		{"not mappable", 1, 0x100, 0x100, false},
		{"large, across pages", 2, 8<<30 + 0xff8, 0x20, true},
		{"large, last page", 2, 16<<30 - 0x10, 0x10, true},
		{"sparse, first area", 4, 0x10, 0x10, true},
		{"sparse, gap", 4, 0x1010, 0x10, false},
		{"sparse, last area", 4, 0x2ff0, 0x10, true},
		{"sparse, partly mapped", 4, 0xff8, 0x10, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			part := mustSub(t, mustBAR(t, d, c.bar), c.off, c.n)
			if _, ok := part.(*mmio.Window); ok != c.mapped {
				t.Errorf("it is a %T", part)
			}
			if part.Len() != c.n {
				t.Errorf("it has 0x%x bytes", part.Len())
			}
			exercise(t, m, uint32(c.bar), c.off, part)
		})
	}
	exercise(t, m, 2, 0, mustBAR(t, d, 2))
	exercise(t, m, 4, 0, mustBAR(t, d, 4))
	if err := d.Err(); err != nil {
		t.Error(err)
	}
}

// TestLargeBARIsNotMappedWhole: neither opening a BAR of 16 GiB nor using it without
// cutting maps anything; cutting maps only the pages needed.
func TestLargeBARIsNotMappedWhole(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	bar := mustBAR(t, d, 2)
	bar.Store32(0, 1)
	if n := len(d.mappings); n != 0 {
		t.Errorf("%d mappings", n)
	}
	mustSub(t, bar, 0x2000, 0x1000)
	if len(d.mappings) != 1 || len(d.mappings[0]) != 0x1000 {
		t.Errorf("%d mappings", len(d.mappings))
	}
	if _, err := mmio.Sub(bar, 0, 1<<30); err == nil {
		t.Error("1 GiB of registers")
	}
}

func TestNoBAR(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	for _, i := range []int{-1, 3, 5, 6, 7} {
		if size := d.BARSize(i); size != 0 {
			t.Errorf("BAR %d has %d bytes", i, size)
		}
		if _, err := d.BAR(i); err == nil {
			t.Errorf("there is a BAR %d", i)
		}
		if _, err := d.MapBAR(i, 0, 4096); err == nil {
			t.Errorf("BAR %d can be mapped", i)
		}
	}
}

func TestMapBAR(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	m.kernel.poke(t, 2, 5<<30, 1, 2, 3)
	mem, err := d.MapBAR(2, 5<<30, 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(mem) != 2<<20 || !bytes.Equal(mem[:3], []byte{1, 2, 3}) {
		t.Errorf("%d bytes, %v", len(mem), mem[:3])
	}
	mem[0] = 9
	if got := m.kernel.peek(t, 2, 5<<30, 1); got[0] != 9 {
		t.Error("the mapping is not shared with the device")
	}
	if err := d.Unmap(mem[:4096]); err == nil {
		t.Error("a part can be unmapped")
	}
	if err := d.Unmap(nil); err == nil {
		t.Error("nothing can be unmapped")
	}
	if err := d.Unmap(mem); err != nil {
		t.Error(err)
	}
	if err := d.Unmap(make([]byte, 4096)); err == nil {
		t.Error("foreign memory can be unmapped")
	}
	for _, c := range []struct {
		bar    int
		off, n uint64
	}{
		{0, 0, 0}, {0, 1, 4096}, {0, 0, 4095}, {0, 16 << 10, 4096}, {0, 12 << 10, 8192}, {0, ^uint64(4095), 8192},
		{1, 0, 4096}, {4, 4 << 10, 4096}, {4, 0, 12 << 10},
	} {
		if _, err := d.MapBAR(c.bar, c.off, c.n); err == nil {
			t.Errorf("MapBAR(%d, 0x%x, 0x%x) succeeds", c.bar, c.off, c.n)
		}
	}
}

// TestFailedAccess: a device that is gone reads as ones, and the failure is kept.
func TestFailedAccess(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	bar := mustBAR(t, d, 1)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(m.kernel.device, 0); err != nil {
		t.Fatal(err)
	}
	if v := bar.Load16(0); v != 0xffff {
		t.Errorf("0x%x", v)
	}
	if v := bar.Load64(8); v != ^uint64(0) {
		t.Errorf("0x%x", v)
	}
	if d.Err() == nil {
		t.Error("no error")
	}
	if _, err := d.ConfigBytes(); err == nil {
		t.Error("configuration space can be read")
	}
}

func TestReset(t *testing.T) {
	m := newMachine(t)
	_, d := m.open()
	if err := d.Reset(); err != nil {
		t.Fatal(err)
	}
	if last := m.kernel.calls[len(m.kernel.calls)-1]; last != "reset" {
		t.Errorf("last call: %s", last)
	}
	m = newMachine(t)
	m.kernel.noReset = true
	_, d = m.open()
	if err := d.Reset(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error: %v", err)
	}
	m = newMachine(t)
	m.kernel.resetErr = unix.EINVAL // seen with e1000: VFIO says that there is a way
	_, d = m.open()
	if err := d.Reset(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error: %v", err)
	}
}

// TestMemoryDecodingOff: a device whose registers cannot be reached is refused, in one line.
func TestMemoryDecodingOff(t *testing.T) {
	m := newMachine(t)
	m.kernel.dead = true
	c, err := m.container()
	m.check(err)
	defer c.Close()
	_, err = c.Open(pci.Address{Device: 4})
	checkDeviceError(t, err, "0000:00:04.0: does not answer at its registers: memory decoding does not stay enabled (command register 0x0000)", "dmesg")
}
