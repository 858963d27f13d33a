package vvu

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/mem"
	virtiopci "vvufwd/virtio/pci"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// region is a memory region of which only what decides about its place matters.
func region(size, offset uint64) vhostuser.MemoryRegion {
	return vhostuser.MemoryRegion{Size: size, Offset: offset}
}

// TestSlots checks the offset rule of contract section 5.
func TestSlots(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		regions      []vhostuser.MemoryRegion
		start, limit uint64
		want         []uint64 // nil: it does not fit
	}{
		"none":             {nil, 0x3000, 0x4000, []uint64{}},
		"one":              {[]vhostuser.MemoryRegion{region(0x1000, 0)}, 0x3000, 0x4000, []uint64{0x3000}},
		"one too large":    {[]vhostuser.MemoryRegion{region(0x1001, 0)}, 0x3000, 0x4000, nil},
		"offset counts":    {[]vhostuser.MemoryRegion{region(0x1000, 0x1000)}, 0x3000, 0x5000, []uint64{0x4000}},
		"offset too large": {[]vhostuser.MemoryRegion{region(0x1000, 0x1001)}, 0x3000, 0x5000, nil},
		"back to back": {[]vhostuser.MemoryRegion{region(0x1000, 0), region(0x2000, 0), region(0x500, 0)},
			0x3000, 0x10000, []uint64{0x3000, 0x4000, 0x6000}},
		"the contract's example": {
			[]vhostuser.MemoryRegion{region(0xa0000, 0), region(3*gib-0xc0000, 0xc0000), region(5*gib, 3*gib)},
			0x3000, 16 * gib, []uint64{0x3000, 0x3000 + 0xa0000 + 0xc0000, 0x3000 + 0xa0000 + 3*gib + 3*gib}},
		"the contract's example in a BAR of 8 GiB": {
			[]vhostuser.MemoryRegion{region(0xa0000, 0), region(3*gib-0xc0000, 0xc0000), region(5*gib, 3*gib)}, 0x3000, 8 * gib, nil},
		"offset wraps":      {[]vhostuser.MemoryRegion{region(0x1000, math.MaxUint64)}, 0x3000, 1 << 40, nil},
		"size wraps":        {[]vhostuser.MemoryRegion{region(math.MaxUint64, 1)}, 0x3000, 1 << 40, nil},
		"second wraps":      {[]vhostuser.MemoryRegion{region(0x1000, 0), region(0x1000, math.MaxUint64-0x3000)}, 0x3000, 1 << 40, nil},
		"largest BAR":       {[]vhostuser.MemoryRegion{region(math.MaxUint64-0x3000, 0)}, 0x3000, math.MaxUint64, []uint64{0x3000}},
		"BAR ends at start": {[]vhostuser.MemoryRegion{region(1, 0)}, 0x3000, 0x3000, nil},
		"unaligned": {[]vhostuser.MemoryRegion{region(0x123, 0x45), region(0x10, 1)}, 0x3000, 0x4000,
			[]uint64{0x3045, 0x3045 + 0x123 + 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := slots(c.regions, c.start, c.limit)
			if (err == nil) != (c.want != nil) || !slices.Equal(got, c.want) {
				t.Errorf("got %#x, %v, want %#x", got, err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "larger BAR") {
				t.Errorf("%q does not say what to do", err)
			}
		})
	}
}

// flatBAR is a function whose BAR 2 is one file.
type flatBAR struct {
	PCIDevice
	fd, size int
	failAt   int // mapping number that fails, 0 for none
	made     int
	mapped   int
}

func (f *flatBAR) BARSize(int) uint64 { return uint64(f.size) }

func (f *flatBAR) MapBAR(_ int, offset, size uint64) ([]byte, error) {
	if f.made++; f.made == f.failAt {
		return nil, unix.ENOMEM
	}
	b, err := unix.Mmap(f.fd, int64(offset), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		f.mapped++
	}
	return b, err
}

func (f *flatBAR) Unmap(b []byte) error { f.mapped--; return unix.Munmap(b) }

func newFlatBAR(t *testing.T, size int) (*flatBAR, *Device) {
	fd, err := unix.MemfdCreate("bar", unix.MFD_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Ftruncate(fd, int64(size)))
	bar := &flatBAR{fd: fd, size: size}
	d := &Device{name: "0000:00:05.0", pci: bar}
	d.caps.SharedMemory = virtiopci.Location{BAR: 2, Offset: 0x3000, Present: true}
	return bar, d
}

// TestMapUnalignedRegions: regions that start and end within pages show the right
// bytes, and no others.
func TestMapUnalignedRegions(t *testing.T) {
	const size = 0x10000
	bar, d := newFlatBAR(t, size)
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i) ^ byte(i>>8)
	}
	_, err := unix.Pwrite(bar.fd, content, 0)
	must(t, err)
	regions := []vhostuser.MemoryRegion{
		{GPA: 0x1000, Size: 0x1234, UVA: 0x700000001000, Offset: 0x10},
		{GPA: 0x100000, Size: 1, UVA: 0x700000100000, Offset: 0xfff},
		{GPA: 0x200000, Size: 0x5001, UVA: 0x700000200000},
		{GPA: 0x300000, Size: size - 0x3000 - 0x10 - 0x1234 - 0xfff - 1 - 0x5001, UVA: 0x700000300000}, // up to the last byte
	}
	m, err := d.Map(regions)
	must(t, err)
	at := uint64(0x3000)
	for i, r := range regions {
		at += r.Offset
		view, ok := m.Table.View(mem.GPA(r.GPA), r.Size)
		if !ok || !bytes.Equal(view, content[at:at+r.Size]) {
			t.Errorf("region %d shows the wrong bytes (found %v)", i, ok)
		}
		if _, more := m.Table.View(mem.GPA(r.GPA), r.Size+1); more {
			t.Errorf("region %d is longer than it was announced", i)
		}
		if gpa, ok := m.Table.FromUser(r.UVA+r.Size-1, 1); !ok || gpa != mem.GPA(r.GPA+r.Size-1) {
			t.Errorf("region %d: last user address translates to %#x, %v", i, gpa, ok)
		}
		at += r.Size
	}
	if bar.mapped != len(regions) {
		t.Errorf("%d mappings for %d regions", bar.mapped, len(regions))
	}
	must(t, m.Unmap())
	if bar.mapped != 0 {
		t.Errorf("%d mappings are left", bar.mapped)
	}
}

// TestMapFailures: what cannot be mapped leaves nothing mapped.
func TestMapFailures(t *testing.T) {
	good := []vhostuser.MemoryRegion{{GPA: 0, Size: 0x1000}, {GPA: 0x10000, Size: 0x1000}}
	for says, c := range map[string]struct {
		regions []vhostuser.MemoryRegion
		failAt  int
		shared  uint64
	}{
		"memory region 1":  {good, 2, 0x3000},
		"memory region 0":  {good, 1, 0x3000},
		"does not fit":     {append(slices.Clone(good), region(0x100000, 0)), 0, 0x3000},
		"overlap":          {append(slices.Clone(good), good[0]), 0, 0x3000},
		"outside BAR 2 of": {good, 0, 0x10001},
	} {
		t.Run(says, func(t *testing.T) {
			bar, d := newFlatBAR(t, 0x10000)
			bar.failAt = c.failAt
			d.caps.SharedMemory.Offset = c.shared
			if _, err := d.Map(c.regions); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want an error that says %q", err, says)
			}
			if bar.mapped != 0 {
				t.Errorf("%d mappings are left", bar.mapped)
			}
		})
	}
}

// TestRegionOrder: the guest's memory is found wherever the table's order and
// offsets put it in the BAR.
func TestRegionOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		usual := vvutest.Regions()
		for i, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {2, 1}, {1, 2}} {
			var regions []vhostuser.MemoryRegion
			for _, k := range order {
				regions = append(regions, usual[k])
			}
			t.Run(fmt.Sprint(order), func(t *testing.T) {
				if i == 3 {
					r.restart() // forgives the bounces
				}
				app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld, Regions: regions})
				r.exchange(app, 3)
				must(t, app.Halt())
			})
		}
	})
}

// TestTableReplaced gives the memory again while rings run, at rest and under load.
func TestTableReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		for i := range uint32(30) {
			r.exchange(app, 2)
			for k := range uint32(50) { // more than the rings hold: some wait for room
				r.wire.Push(frame(300, k))
			}
			must(t, app.Share(vvutest.Regions(), false))
			must(t, app.Settle())
			if n := r.pci.mapped(); n != len(vvutest.Regions()) {
				t.Fatalf("%d regions are mapped, want %d", n, len(vvutest.Regions()))
			}
			marker := frame(64, 1000+i)
			r.wire.Push(marker)
			for received := 0; ; received++ {
				got, err := app.Receive()
				must(t, err)
				if bytes.Equal(got, marker) {
					break
				}
				if received == 50 || len(got) != 300 {
					t.Fatalf("frame %d after the new table has %d bytes", received, len(got))
				}
			}
		}
		r.exchange(app, 2)
		if _, err := app.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestTableWithoutRing: a table that leaves a ring out stops that ring and no
// other. The front-end hears of it if it asks, and its next table heals.
func TestTableWithoutRing(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.CloudHypervisor})
		r.exchange(app, 2)
		all := vvutest.Regions()
		acks := app.Front.Protocol().Has(vhostuser.ProtoReplyAck)
		if acks == (r.fork != nil) {
			t.Fatalf("protocol features %v", app.Front.Protocol())
		}
		share := func(regions []vhostuser.MemoryRegion, want uint64) {
			t.Helper()
			must(t, app.Share(regions, acks))
			if acks {
				m, err := app.Conn.ReadMessage()
				must(t, err)
				var code vhostuser.U64
				must(t, code.Decode(m.Payload))
				if m.Request != vhostuser.SetMemTable || (code != 0) != (want != 0) {
					t.Errorf("answer %v with code %d, want %d", m, code, want)
				}
			}
			must(t, app.Settle())
		}
		r.expect("cannot serve the front-end")
		if r.fork != nil {
			// The device moves the regions before the driver can release the rings,
			// which may then look broken until they are restarted (contract, section 5).
			r.expect("the guest violated the ring protocol")
		}
		share(all[2:], 1) // the receive ring is not there
		must(t, app.Send(frame(60, 1)))
		got, err := r.wire.Pop()
		must(t, err)
		r.same("outgoing", frame(60, 1), got)
		r.wire.Push(frame(60, 2))
		eventually(t, "dropping of a frame for the stopped ring", func() bool { return r.wire.Waiting() == 0 })

		share(all, 0)
		r.exchange(app, 3)
		share(all[:2], 1) // the transmit ring is not there
		r.wire.Push(frame(60, 3))
		got, err = app.Receive()
		must(t, err)
		r.same("incoming", frame(60, 3), got)
		share(all, 0)
		r.exchange(app, 3)
		bases, err := app.Stop()
		must(t, err)
		if int(bases[0]) != app.Done(0) || int(bases[1]) != app.Done(1) {
			t.Errorf("rings stopped at %d, want %d and %d", bases, app.Done(0), app.Done(1))
		}
	})
}

// TestBARTooSmall: memory that does not fit is said to be too much; the front-end
// is answered, and one with less memory is served afterwards.
func TestBARTooSmall(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{BARSize: 8 << 20})
	r.expect("cannot serve the front-end")
	r.up()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	must(t, app.Connect())
	must(t, app.Start())
	if n := r.pci.mapped(); n != 0 {
		t.Errorf("%d regions are mapped", n)
	}
	bases, err := app.Stop()
	must(t, err)
	if bases[0] != 0 || bases[1] != 0 {
		t.Errorf("rings that never ran stopped at %d", bases)
	}
	said := false
	for _, e := range r.logs.All() {
		said = said || strings.Contains(fmt.Sprint(e.ContextMap()["error"]), "larger BAR or the front-end's VM less memory")
	}
	if !said {
		t.Error("no one says what to do about it")
	}
	must(t, app.Halt())

	low := vvutest.Regions()[2]
	low.Size = 0x100000 // slot of 5 MiB
	regions := []vhostuser.MemoryRegion{low, {GPA: 0x100000, Size: 0x100000, UVA: low.UVA - low.Offset + 0x100000, Offset: 0x100000}}
	r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld, Regions: regions}), 3)
}
