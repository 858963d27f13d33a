package vringtest_test

import (
	"bytes"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// A pair carries a buffer from the driver to the device and back, whatever its
// memory looks like.
func TestPairCarriesABuffer(t *testing.T) {
	for name, cfg := range map[string]vringtest.Config{
		"zero value":  {},
		"one entry":   {Size: 1, Indirect: true},
		"features":    {Size: 16, EventIdx: true, Indirect: true},
		"off heap":    {Size: 16, OffHeap: true, Regions: 3},
		"high start":  {Size: 16, Start: 65535, EventIdx: true},
		"other bases": {Size: 16, RingBase: 1 << 40, HeapBase: 0x3000},
	} {
		t.Run(name, func(t *testing.T) {
			p := vringtest.NewPair(t, cfg)
			addr, out := p.Alloc(5)
			copy(out, "hello")
			head, err := p.Driver.Add([]vring.Part{vringtest.Part(addr, 5)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if p.Driver.Publish(); p.Raw.AvailIdx() != cfg.Start+1 || p.Raw.AvailEntry(cfg.Start) != head {
				t.Fatalf("avail.idx %d, entry %d", p.Raw.AvailIdx(), p.Raw.AvailEntry(cfg.Start))
			}
			if !p.Driver.NeedKick() {
				t.Error("a fresh device does not want the first kick")
			}
			var c vring.Chain
			if p.Device.Available() != 1 || !p.Device.Pop(&c) || c.Head != head {
				t.Fatalf("device sees %+v, fault %v", c, p.Device.Err())
			}
			if got := vringtest.Join(c.Read); string(got) != "hello" || &c.Read[0][0] != &out[0] {
				t.Errorf("device reads %q", got)
			}
			p.Device.Push(c.Head, 0)
			if p.Device.Publish(); p.Raw.UsedIdx() != cfg.Start+1 {
				t.Errorf("used.idx is %d", p.Raw.UsedIdx())
			}
			if id, _ := p.Raw.UsedEntry(cfg.Start); id != uint32(head) {
				t.Errorf("used element names %d", id)
			}
			if !p.Device.NeedSignal() {
				t.Error("a fresh driver does not want the first interrupt")
			}
			var u vring.Used
			if p.Driver.Completed() != 1 || !p.Driver.Take(&u) || u.Head != head {
				t.Errorf("driver takes %+v", u)
			}
		})
	}
}

func TestAllocAcrossLiesInTwoRegions(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{HeapBytes: 1024, Regions: 4})
	first, _ := p.Alloc(3)
	for i := range 3 {
		addr := p.AllocAcross(5+i, 20)
		if addr <= first {
			t.Fatalf("buffer at %#x was handed out before", addr)
		}
		if _, ok := p.Mem.View(addr, 20); ok {
			t.Errorf("buffer at %#x lies in one region", addr)
		}
		if _, ok := p.Mem.View(addr, uint64(5+i)); !ok {
			t.Errorf("first %d bytes at %#x do not lie in one region", 5+i, addr)
		}
		want := bytes.Repeat([]byte{0xa0, byte(i)}, 10)
		p.Write(addr, want)
		if got := p.Read(addr, 20); !bytes.Equal(got, want) {
			t.Errorf("read %x, wrote %x", got, want)
		}
	}
	last, b := p.Alloc(200)
	if _, ok := p.Mem.View(last, 200); !ok || len(b) != 200 {
		t.Errorf("%d bytes at %#x do not lie in one region", len(b), last)
	}
}

// A ring that only a foreign driver makes: avail ring at 2 modulo 4.
func TestAvailAt2Mod4(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 4, AvailAt2Mod4: true, Start: 65534})
	if p.Driver != nil || p.DeviceConfig.Avail%4 != 2 {
		t.Fatalf("driver %v, avail ring at %#x", p.Driver, p.DeviceConfig.Avail)
	}
	addr, _ := p.Alloc(8)
	for range 3 {
		p.Raw.SetChain(vring.Desc{Addr: uint64(addr), Len: 8})
		p.Raw.Offer(0)
		var c vring.Chain
		if p.Device.Available() != 1 || !p.Device.Pop(&c) {
			t.Fatalf("no chain, fault %v", p.Device.Err())
		}
		p.Device.Push(0, 0)
		p.Device.Publish()
	}
	if p.Raw.UsedIdx() != 1 {
		t.Errorf("used.idx is %d", p.Raw.UsedIdx())
	}
}
