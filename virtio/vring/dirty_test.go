package vring_test

import (
	"bytes"
	"fmt"
	"testing"

	"vvufwd/virtio/mem"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// Wherever a ring lies, across whichever pages, and wherever in it completions go: what
// is published is marked.
func TestUsedRingIsMarkedWhereverItLies(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for offset := 0; offset < mem.DirtyPage; offset += 112 {
			t.Run(fmt.Sprintf("packed %v, offset %d", packed, offset), func(t *testing.T) {
				checkUsedMarks(t, vringtest.Config{Size: 32, Packed: packed, RingBase: mem.GPA(0x10000 + offset)})
			})
		}
	}
}

func checkUsedMarks(t *testing.T, cfg vringtest.Config) {
	p := vringtest.NewPair(t, cfg)
	bits := make([]byte, mem.DirtyPage*((p.Mem.LogBytes()+mem.DirtyPage-1)/mem.DirtyPage))
	log, err := mem.NewDirtyLog(p.Mem, bits, 0, p.Mem.LogBytes())
	if err != nil {
		t.Fatal(err)
	}
	l, ok := vring.NewLogging(log, p.DeviceConfig.Desc, p.DeviceConfig.Used, cfg.Size, cfg.Packed)
	if !ok {
		t.Fatal("the log does not cover the ring")
	}
	p.Device.SetLogging(l)
	addr, _ := p.Alloc(64)
	ring := p.Mem.Regions()[0]
	for round := range 40 {
		for range round%cfg.Size + 1 {
			if _, err := p.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 64)}); err != nil {
				t.Fatal(err)
			}
		}
		p.Driver.Publish()
		before := bytes.Clone(ring.Mem)
		clear(bits)
		p.Device.ResetViews()
		p.Device.Available()
		for c := (vring.Chain{}); p.Device.Pop(&c); {
			p.Device.Push(c.Head, uint32(round)+1)
		}
		p.Device.Publish()
		for i := range before {
			if page := (uint64(ring.GPA) + uint64(i)) / mem.DirtyPage; before[i] != ring.Mem[i] && bits[page/8]>>(page%8)&1 == 0 {
				t.Fatalf("round %d: byte %d of the ring has changed, and page %#x is not marked", round, i, page)
			}
		}
		p.Driver.Completed()
		for u := (vring.Used{}); p.Driver.Take(&u); {
		}
	}
}

// A used ring may be marked elsewhere than where it lies (log_guest_addr), but not beyond
// the log.
func TestLoggingIsRefusedBeyondTheLog(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{HeapBase: 0x80000, HeapBytes: 0x8000})
	log, err := mem.NewDirtyLog(p.Mem, make([]byte, mem.DirtyPage), 0, p.Mem.LogBytes())
	if err != nil {
		t.Fatal(err)
	}
	end := mem.GPA(p.Mem.LogBytes() * 8 * mem.DirtyPage)
	for _, tt := range []struct {
		at   mem.GPA
		want bool
	}{{0, true}, {end - mem.GPA(vring.UsedBytes(256)), true}, {end - mem.GPA(vring.UsedBytes(256)) + 1, false}, {^mem.GPA(0), false}, {1 << 60, false}} {
		if _, ok := vring.NewLogging(log, 0, tt.at, 256, false); ok != tt.want {
			t.Errorf("a used ring marked at %#x: %v", tt.at, ok)
		}
	}
}
