package vring_test

import (
	"errors"
	"strings"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// The bytes that both sides write to a packed ring, against bytes worked out from
// 2.8.13 and 2.8.14 by hand: three slots, a chain across their end.
func TestPackedLayoutByteForByte(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 3, EventIdx: true})
	q, d := p.Driver, p.Device
	addOne(t, q, []vring.Part{{Addr: 0x1_0000_1000, Len: 0x0c}}, nil)
	addOne(t, q, nil, []vring.Part{{Addr: 0x1_0000_3000, Len: 0x0600}})
	wantBytes(t, "ring before Publish", p.Raw.Table, unhex(t,
		"0010000001000000 0c000000 0000 0000", // neither id nor flags
		"0030000001000000 00060000 0100 8200", // id 1, avail and write
		"0000000000000000 00000000 0000 0000"))
	q.Publish()
	wantBytes(t, "ring", p.Raw.Table, unhex(t,
		"0010000001000000 0c000000 0000 8000",
		"0030000001000000 00060000 0100 8200",
		"0000000000000000 00000000 0000 0000"))

	var c vring.Chain
	for d.Available(); d.Pop(&c); {
		d.Push(c.Head, 0x105*uint32(c.Head))
	}
	d.Publish()
	d.EnableKicks()
	wantBytes(t, "ring with what was used", p.Raw.Table, unhex(t,
		"0010000001000000 00000000 0000 8080", // nothing written
		"0030000001000000 05010000 0100 8280",
		"0000000000000000 00000000 0000 0000"))
	wantBytes(t, "device event area", p.Raw.Used, unhex(t, "0280 0200")) // slot 2, wrap 1

	var u vring.Used
	for q.Completed(); q.Take(&u); {
	}
	q.EnableInterrupts()
	wantBytes(t, "driver event area", p.Raw.Avail, unhex(t, "0280 0200"))
	addOne(t, q, []vring.Part{{Addr: 0x10, Len: 1}}, []vring.Part{{Addr: 0x20, Len: 2}})
	q.Publish()
	wantBytes(t, "ring after its end", p.Raw.Table, unhex(t,
		"2000000000000000 02000000 0100 0280", // used bit: wrap 0; write
		"0030000001000000 05010000 0100 8280",
		"1000000000000000 01000000 0100 8100")) // avail bit: wrap 1; next

	q.DisableInterrupts()
	d.DisableKicks()
	wantBytes(t, "driver event area, disabled", p.Raw.Avail, unhex(t, "0000 0100"))
	wantBytes(t, "device event area, disabled", p.Raw.Used, unhex(t, "0000 0100"))
}

func addOne(t *testing.T, q *vring.Driver, read, write []vring.Part) uint16 {
	t.Helper()
	head, err := q.Add(read, write)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// Without EVENT_IDX no one is asked for a certain descriptor.
func TestPackedLayoutOfFlags(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 2})
	p.Driver.DisableInterrupts()
	p.Device.DisableKicks()
	wantBytes(t, "areas, disabled", append(p.Raw.Avail[:4:4], p.Raw.Used...), unhex(t, "0000 0100 0000 0100"))
	p.Driver.EnableInterrupts()
	p.Device.EnableKicks()
	wantBytes(t, "areas, enabled", append(p.Raw.Avail[:4:4], p.Raw.Used...), unhex(t, "0000 0000 0000 0000"))
}

// In an indirect table of a packed ring buffers stand one after the other, and write
// is the only flag (2.8.7).
func TestPackedLayoutOfIndirect(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 5, Indirect: true, IndirectParts: 3, RingBase: 0x20000})
	addOne(t, p.Driver, []vring.Part{{Addr: 0x10, Len: 1}}, []vring.Part{{Addr: 0x20, Len: 2}, {Addr: 0x30, Len: 3}})
	p.Driver.Publish()
	d := vringtest.PackedAt(p.Raw.Table, 0)
	if d.Flags != indirect|vringtest.Avail || d.Len != 3*vring.DescSize || d.ID != 0 {
		t.Fatalf("descriptor %+v", d)
	}
	wantBytes(t, "indirect table", p.Read(mem.GPA(d.Addr), int(d.Len)), unhex(t,
		"1000000000000000 01000000 0000 0000",
		"2000000000000000 02000000 0000 0200",
		"3000000000000000 03000000 0000 0200"))
}

func TestPackedSizes(t *testing.T) {
	for _, n := range []int{1, 3, 100, 32767, 32768} {
		if desc, driver, device := vring.Areas(n, true); desc != 16*n || driver != 4 || device != 4 {
			t.Errorf("%d entries: %d, %d, %d bytes", n, desc, driver, device)
		}
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: n})
		if p.Driver.Size() != n || p.Device.Size() != n || p.Driver.Free() != n {
			t.Errorf("sizes %d and %d, %d free, want %d", p.Driver.Size(), p.Device.Size(), p.Driver.Free(), n)
		}
	}
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8})
	for _, n := range []int{-1, 0, 32769, 65536} {
		cfg := p.DeviceConfig
		cfg.Size = n
		if q, err := vring.NewDevice(cfg); !errors.Is(err, vring.ErrPackedSize) {
			t.Errorf("device side of %d entries: %v, %v", n, q, err)
		}
		if q, err := vring.NewDriver(vring.DriverConfig{Packed: true, Size: n, Memory: make([]byte, 256)}); !errors.Is(err, vring.ErrPackedSize) {
			t.Errorf("driver side of %d entries: %v, %v", n, q, err)
		}
	}
}

func TestPackedPlaceRefused(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 7})
	for name, tt := range map[string]struct {
		change func(*vring.DeviceConfig)
		want   error
		names  string
	}{
		"ring nowhere":        {func(c *vring.DeviceConfig) { c.Desc = 0x10 }, vring.FaultUnmapped, "descriptor ring"},
		"driver area nowhere": {func(c *vring.DeviceConfig) { c.Avail = ^mem.GPA(3) }, vring.FaultUnmapped, "driver event area"},
		"device area nowhere": {func(c *vring.DeviceConfig) { c.Used = 0 }, vring.FaultUnmapped, "device event area"},
		"ring at 4 mod 8":     {func(c *vring.DeviceConfig) { c.Desc += 4 }, vring.ErrAlign, ""},
		"driver area at 2":    {func(c *vring.DeviceConfig) { c.Avail += 2 }, vring.ErrAlign, ""},
		"device area at 2":    {func(c *vring.DeviceConfig) { c.Used += 2 }, vring.ErrAlign, ""},
		"begins at the size":  {func(c *vring.DeviceConfig) { c.NextAvail = vring.FirstSlot | 7 }, nil, "slot 7"},
		"begins far outside":  {func(c *vring.DeviceConfig) { c.NextAvail = 0x7fff }, nil, "slot 32767"},
	} {
		cfg := p.DeviceConfig
		tt.change(&cfg)
		q, err := vring.NewDevice(cfg)
		if q != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: %v, %v", name, q, err)
		}
	}
	p.DeviceConfig.NextAvail = vring.FirstSlot | 6
	if _, err := vring.NewDevice(p.DeviceConfig); err != nil {
		t.Errorf("the last slot: %v", err)
	}
	need := vring.DriverBytes(8)
	for name, memory := range map[string][]byte{
		"a byte short": alignedBytes(t, need-1, 0), "misaligned": alignedBytes(t, need, 4),
	} {
		if q, err := vring.NewDriver(vring.DriverConfig{Packed: true, Size: 8, Memory: memory}); err == nil {
			t.Errorf("driver side, %s: %v", name, q)
		}
	}
}
