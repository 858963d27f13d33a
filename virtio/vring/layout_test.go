package vring_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// unhex reads the bytes of a layout written down by hand.
func unhex(t *testing.T, lines ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(strings.Join(lines, " ")), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

// The bytes that both sides write, against bytes worked out from 2.7.5, 2.7.6
// and 2.7.8 by hand.
func TestLayoutByteForByte(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 4, EventIdx: true})
	q := p.Driver
	add := func(read, write []vring.Part) {
		t.Helper()
		if _, err := q.Add(read, write); err != nil {
			t.Fatal(err)
		}
	}
	add([]vring.Part{{Addr: 0x1_0000_1000, Len: 0x0c}, {Addr: 0x1_0000_2002, Len: 0x05ea}}, nil)
	add(nil, []vring.Part{{Addr: 0x1_0000_3000, Len: 0x0600}})
	wantBytes(t, "avail ring before Publish", p.Raw.Avail, unhex(t, "0000 0000 0000 0200 0000 0000 0000"))
	q.Publish()
	wantBytes(t, "descriptor table", p.Raw.Table, unhex(t,
		"0010000001000000 0c000000 0100 0100", // next, to 1
		"0220000001000000 ea050000 0000 0000",
		"0030000001000000 00060000 0200 0000", // write
		"0000000000000000 00000000 0000 0000",
	))
	wantBytes(t, "avail ring", p.Raw.Avail, unhex(t, "0000 0200 0000 0200 0000 0000 0000"))

	var c vring.Chain
	d := p.Device
	d.Available()
	for d.Pop(&c) {
		d.Push(c.Head, 0x105*uint32(c.Head))
	}
	wantBytes(t, "used ring before Publish", p.Raw.Used, make([]byte, len(p.Raw.Used)))
	d.Publish()
	d.EnableKicks()
	wantBytes(t, "used ring", p.Raw.Used, unhex(t,
		"0000 0200", "00000000 00000000", "02000000 0a020000", "0000000000000000", "0000000000000000", "0200"))

	var u vring.Used
	q.Completed()
	for q.Take(&u) {
	}
	q.EnableInterrupts()
	wantBytes(t, "avail ring with used_event", p.Raw.Avail, unhex(t, "0000 0200 0000 0200 0000 0000 0200"))
}

// Without EVENT_IDX the wishes are flags, and the event fields stay untouched.
func TestLayoutOfFlags(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 2})
	p.Raw.SetUsedEvent(0xbeef)
	p.Raw.SetAvailEvent(0xcafe)
	p.Driver.DisableInterrupts()
	p.Device.DisableKicks()
	wantBytes(t, "avail ring, disabled", p.Raw.Avail, unhex(t, "0100 0000 0000 0000 efbe"))
	wantBytes(t, "used ring, disabled", p.Raw.Used, unhex(t, "0100 0000", "0000000000000000", "0000000000000000", "feca"))
	p.Driver.EnableInterrupts()
	p.Device.EnableKicks()
	wantBytes(t, "avail ring, enabled", p.Raw.Avail, unhex(t, "0000 0000 0000 0000 efbe"))
	wantBytes(t, "used ring, enabled", p.Raw.Used, unhex(t, "0000 0000", "0000000000000000", "0000000000000000", "feca"))
}

// An indirect table is a table of its own, linked within, and the descriptor
// that refers to it has neither next nor write.
func TestLayoutOfIndirect(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 4, Indirect: true, IndirectParts: 3, RingBase: 0x20000})
	head, err := p.Driver.Add([]vring.Part{{Addr: 0x10, Len: 1}},
		[]vring.Part{{Addr: 0x20, Len: 2}, {Addr: 0x30, Len: 3}})
	if err != nil || head != 0 {
		t.Fatal(head, err)
	}
	d := vringtest.Desc(p.Raw.Table, 0)
	if d.Flags != vring.DescIndirect || d.Len != 3*vring.DescSize || d.Next != 0 {
		t.Fatalf("descriptor %+v", d)
	}
	wantBytes(t, "indirect table", p.Read(mem.GPA(d.Addr), int(d.Len)), unhex(t,
		"1000000000000000 01000000 0100 0100",
		"2000000000000000 02000000 0300 0200",
		"3000000000000000 03000000 0200 0000",
	))
}

// The places and sizes of a ring's parts (2.7).
func TestDriverAddresses(t *testing.T) {
	for _, tt := range []struct{ size, avail, used, bytes int }{
		{1, 16, 24, 48}, // avail ends at 24; used at 38, rounded to 16
		{2, 32, 44, 80}, // avail ends at 42
		{4, 64, 80, 128},
		{256, 4096, 4616, 6672},
		{32768, 524288, 589832, 851984},
	} {
		if got := vring.DriverBytes(tt.size); got != tt.bytes {
			t.Errorf("ring of %d entries takes %d bytes, want %d", tt.size, got, tt.bytes)
		}
		p := vringtest.NewPair(t, vringtest.Config{Size: tt.size, RingBase: 0x4000_0000})
		desc, avail, used := p.Driver.Addresses()
		if desc != 0x4000_0000 || avail != desc+uint64(tt.avail) || used != desc+uint64(tt.used) {
			t.Errorf("ring of %d entries at %#x, %#x, %#x", tt.size, desc, avail, used)
		}
		if desc%16 != 0 || avail%2 != 0 || used%4 != 0 {
			t.Errorf("ring of %d entries is misaligned: %#x, %#x, %#x", tt.size, desc, avail, used)
		}
		if p.Driver.Size() != tt.size || p.Device.Size() != tt.size {
			t.Errorf("sizes %d and %d, want %d", p.Driver.Size(), p.Device.Size(), tt.size)
		}
	}
}

func TestPartSizes(t *testing.T) {
	for _, n := range []int{1, 2, 8, 1024, 32768} {
		if t1, a, u := vring.TableBytes(n), vring.AvailBytes(n), vring.UsedBytes(n); t1 != 16*n || a != 6+2*n || u != 6+8*n {
			t.Errorf("%d entries: table %d, avail %d, used %d bytes", n, t1, a, u)
		}
	}
}

func TestSizesRefused(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8})
	for _, n := range []int{-8, -1, 0, 3, 6, 24, 32767, 32769, 65536, 1 << 30} {
		cfg := p.DeviceConfig
		cfg.Size = n
		if q, err := vring.NewDevice(cfg); !errors.Is(err, vring.ErrSize) {
			t.Errorf("device side of %d entries: %v, %v", n, q, err)
		}
		if q, err := vring.NewDriver(vring.DriverConfig{Size: n, Memory: make([]byte, 256)}); !errors.Is(err, vring.ErrSize) {
			t.Errorf("driver side of %d entries: %v, %v", n, q, err)
		}
	}
}

// alignedBytes is n bytes of heap at an address that is off modulo 16.
func alignedBytes(t *testing.T, n, off int) []byte {
	t.Helper()
	p := vringtest.NewPair(t, vringtest.Config{Size: 1, HeapBytes: (n + off + 31) &^ 15})
	_, b := p.Alloc(n + off)
	return b[off : off+n : off+n]
}

func TestDriverMemoryRefused(t *testing.T) {
	const size = 8
	need := vring.DriverBytes(size)
	for name, tt := range map[string]struct {
		cfg  vring.DriverConfig
		want error // nil: any
	}{
		"no memory":          {vring.DriverConfig{}, nil},
		"a byte short":       {vring.DriverConfig{Memory: alignedBytes(t, need-1, 0)}, nil},
		"misaligned by 4":    {vring.DriverConfig{Memory: alignedBytes(t, need, 4)}, vring.ErrAlign},
		"misaligned by 1":    {vring.DriverConfig{Memory: alignedBytes(t, need, 1)}, vring.ErrAlign},
		"tables of one part": {vring.DriverConfig{Memory: alignedBytes(t, need, 0), IndirectMemory: make([]byte, 4096), IndirectParts: 1}, nil},
		"tables above size":  {vring.DriverConfig{Memory: alignedBytes(t, need, 0), IndirectMemory: make([]byte, 4096), IndirectParts: 9}, nil},
		"tables too long":    {vring.DriverConfig{Memory: alignedBytes(t, need, 0), IndirectMemory: make([]byte, 8*64-1), IndirectParts: 4}, nil},
	} {
		tt.cfg.Size = size
		q, err := vring.NewDriver(tt.cfg)
		if err == nil || q != nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v", name, q, err)
		}
	}
}

func TestDevicePlaceRefused(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 8, HeapBytes: 2048, Regions: 2})
	good := p.DeviceConfig
	across := p.AllocAcross(16, 64)
	for name, tt := range map[string]struct {
		change func(*vring.DeviceConfig)
		want   error
		names  string // what the message must name
	}{
		"table nowhere":        {func(c *vring.DeviceConfig) { c.Desc = 0x10 }, vring.FaultUnmapped, "descriptor table"},
		"avail nowhere":        {func(c *vring.DeviceConfig) { c.Avail = ^mem.GPA(1) }, vring.FaultUnmapped, "avail ring"},
		"used nowhere":         {func(c *vring.DeviceConfig) { c.Used = 0 }, vring.FaultUnmapped, "used ring"},
		"table across regions": {func(c *vring.DeviceConfig) { c.Desc = across }, vring.FaultUnmapped, "descriptor table"},
		"avail across regions": {func(c *vring.DeviceConfig) { c.Avail = across }, vring.FaultUnmapped, "avail ring"},
		"used across regions":  {func(c *vring.DeviceConfig) { c.Used = across }, vring.FaultUnmapped, "used ring"},
		"table at 4 mod 8":     {func(c *vring.DeviceConfig) { c.Desc += 4 }, vring.ErrAlign, ""},
		"table at 1":           {func(c *vring.DeviceConfig) { c.Desc++ }, vring.ErrAlign, ""},
		"avail at 1":           {func(c *vring.DeviceConfig) { c.Avail++ }, vring.ErrAlign, ""},
		"used at 2 mod 4":      {func(c *vring.DeviceConfig) { c.Used += 2 }, vring.ErrAlign, ""},
		"used at 1":            {func(c *vring.DeviceConfig) { c.Used++ }, vring.ErrAlign, ""},
	} {
		cfg := good
		tt.change(&cfg)
		q, err := vring.NewDevice(cfg)
		if q != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: %v, %v", name, q, err)
		}
	}
	if _, err := vring.NewDevice(good); err != nil {
		t.Errorf("the ring itself: %v", err)
	}
}
