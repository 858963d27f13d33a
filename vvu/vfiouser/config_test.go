package vfiouser

import (
	"encoding/binary"
	"testing"
)

func TestConfigCapabilities(t *testing.T) {
	c := NewConfig(Identity{Vendor: 1, Device: 2, SubVendor: 3, SubDevice: 4, Class: 0x00ff01, Revision: 5})
	if err := c.AddMSIX(MSIX{Vectors: 259, BAR: 1, PBAOffset: 0x2000}); err != nil {
		t.Fatal(err)
	}
	if err := c.AddCapability(9, []byte{0x11, 6, 2}, nil); err != nil {
		t.Fatal(err)
	}
	var b [256]byte
	c.Read(0, b[:])
	le := binary.LittleEndian
	if le.Uint16(b[0:]) != 1 || le.Uint16(b[2:]) != 2 || le.Uint16(b[0x2c:]) != 3 || le.Uint16(b[0x2e:]) != 4 ||
		b[8] != 5 || b[9] != 1 || b[10] != 0xff || b[11] != 0 {
		t.Errorf("header %x", b[:0x40])
	}
	if b[6]&0x10 == 0 || b[0x34] != 0x40 {
		t.Errorf("status %#x, capability pointer %#x", b[6], b[0x34])
	}
	if b[0x40] != 0x11 || b[0x41] != 0x4c || le.Uint16(b[0x42:]) != 258 || le.Uint32(b[0x44:]) != 1 || le.Uint32(b[0x48:]) != 0x2001 {
		t.Errorf("MSI-X capability %x", b[0x40:0x4c])
	}
	if b[0x4c] != 9 || b[0x4d] != 0 || b[0x4f] != 6 {
		t.Errorf("vendor capability %x", b[0x4c:0x54])
	}
}

func TestConfigWrites(t *testing.T) {
	c := NewConfig(Identity{Vendor: 0x1af4, Device: 0x1058})
	if err := c.SetBAR(4, BAR{Size: 1 << 34, Wide: true, Prefetchable: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.AddMSIX(MSIX{Vectors: 3, BAR: 1, PBAOffset: 0x800}); err != nil {
		t.Fatal(err)
	}
	ones := make([]byte, ConfigSize)
	for i := range ones {
		ones[i] = 0xff
	}
	var before, b [ConfigSize]byte
	c.Read(0, before[:])
	c.Write(0, ones)
	c.Read(0, b[:])
	le := binary.LittleEndian
	if id := le.Uint32(b[0:]); id != 0x10581af4 {
		t.Errorf("identity became %#x", id)
	}
	if cmd := le.Uint16(b[4:]); cmd != 0x0407 {
		t.Errorf("command became %#x", cmd)
	}
	if bar := le.Uint64(b[0x20:]); bar != ^uint64(1<<34-1)|0xc {
		t.Errorf("BAR 4 became %#x", bar)
	}
	if ctl := le.Uint16(b[0x42:]); ctl != 0xc002 {
		t.Errorf("MSI-X control became %#x", ctl)
	}
	if le.Uint32(b[0x10:]) != 0 || b[0x3d] != 0 {
		t.Errorf("a BAR or an interrupt pin appeared: %x", b[:0x40])
	}
	c.Reset()
	c.Read(0, b[:])
	if b != before {
		t.Error("reset does not restore what was written")
	}
}

func TestConfigRefuses(t *testing.T) {
	c := NewConfig(Identity{})
	for i, b := range map[int]BAR{-1: {Size: 4096}, 6: {Size: 4096}, 5: {Size: 4096, Wide: true}, 0: {Size: 4095}, 1: {Size: 8}, 2: {Size: 1 << 32}} {
		if err := c.SetBAR(i, b); err == nil {
			t.Errorf("BAR %d %+v is accepted", i, b)
		}
	}
	for _, n := range []int{0, 2049} {
		if err := c.AddMSIX(MSIX{Vectors: n}); err == nil {
			t.Errorf("%d vectors are accepted", n)
		}
	}
	if err := c.AddCapability(9, make([]byte, 191), nil); err == nil {
		t.Error("a capability that ends after 256 bytes is accepted")
	}
	if err := c.AddCapability(9, make([]byte, 190), nil); err != nil {
		t.Errorf("a capability that just fits: %v", err)
	}
}
