package vring_test

import (
	"bytes"
	"fmt"
	"slices"
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

// marked are the pages that a log over a ring's memory has marked.
func marked(bits []byte) (pages []uint64) {
	for i := range len(bits) * 8 {
		if bits[i/8]>>(i%8)&1 != 0 {
			pages = append(pages, uint64(i))
		}
	}
	return pages
}

// Of buffers that were written to as much is marked as was written, and of those of a burst that
// was broken off all that can have been. A wish for kicks is marked too.
func TestBuffersAreMarked(t *testing.T) {
	bothFormats(t, func(t *testing.T, packed bool) {
		const page = mem.DirtyPage
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 16, HeapBase: 0x100000, HeapBytes: 64 * page, Regions: 1})
		q := p.Device
		if q.Logged() {
			t.Error("a ring is logged that no one wants to know of")
		}
		bits := make([]byte, page)
		log, err := mem.NewDirtyLog(p.Mem, bits, 0, p.Mem.LogBytes())
		if err != nil {
			t.Fatal(err)
		}
		l, ok := vring.NewLogging(log, p.DeviceConfig.Desc, p.DeviceConfig.Used, 16, packed)
		if !ok {
			t.Fatal("the log does not cover the ring")
		}
		if q.SetLogging(l); !q.Logged() {
			t.Fatal("the ring is not logged")
		}
		first, _ := p.Alloc(2 * page)
		second, _ := p.Alloc(3 * page)
		third, _ := p.Alloc(page)
		number := func(at mem.GPA, k int) uint64 { return uint64(at)/page + uint64(k) }
		if uint64(first)%page != 0 {
			t.Fatalf("buffers at %#x", first)
		}
		offer := func(parts ...vring.Part) {
			t.Helper()
			if _, err := p.Driver.Add(nil, parts); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			name    string
			written []uint32 // to a chain of two parts and one of one part
			want    []uint64
		}{
			{"some of the first part", []uint32{page, 1}, []uint64{number(first, 0), number(third, 0)}},
			{"and of the second", []uint32{2*page + 1, 0}, []uint64{number(first, 0), number(first, 1), number(second, 0)}},
			{"all", []uint32{5 * page, page}, []uint64{number(first, 0), number(first, 1), number(second, 0), number(second, 1), number(second, 2), number(third, 0)}},
			{"broken off", nil, []uint64{number(first, 0), number(first, 1), number(second, 0), number(second, 1), number(second, 2), number(third, 0)}},
		} {
			offer(vringtest.Part(first, 2*page), vringtest.Part(second, 3*page))
			offer(vringtest.Part(third, page))
			p.Driver.Publish()
			var chains [2]vring.Chain
			q.Available()
			q.ResetViews()
			if q.PopBurst(chains[:]) != 2 {
				t.Fatal(q.Err())
			}
			clear(bits)
			if c.written == nil {
				q.LogViews(3 * page)
			}
			for i, n := range c.written {
				q.Push(chains[i].Head, n)
			}
			if c.written != nil {
				q.LogWritten(chains[:])
			}
			if got := marked(bits); !slices.Equal(got, c.want) {
				t.Errorf("%s: pages %#x are marked, want %#x", c.name, got, c.want)
			}
			if c.written == nil {
				break
			}
			q.Publish()
			p.Driver.Completed()
			for u := (vring.Used{}); p.Driver.Take(&u); {
			}
		}
		used := uint64(p.DeviceConfig.Used) / page
		for what, ask := range map[string]func(){"asked for": func() { q.EnableKicks() }, "not wanted": q.DisableKicks} {
			clear(bits)
			if ask(); !slices.Contains(marked(bits), used) {
				t.Errorf("kicks are %s, and page %#x is not marked", what, used)
			}
		}
	})
}

// Of a buffer of any length, what cannot have been written is not marked: each mark takes its time, and the guest says how
// many there are.
func TestLogViewsOfAVastBuffer(t *testing.T) {
	const page, size, most = 4096, 64, 2*4096 + 1
	p := vringtest.NewPair(t, vringtest.Config{Size: size, HeapBase: 0x100000, HeapBytes: 256 * page})
	q := p.Device
	bits := make([]byte, page)
	log, err := mem.NewDirtyLog(p.Mem, bits, 0, p.Mem.LogBytes())
	if err != nil {
		t.Fatal(err)
	}
	l, ok := vring.NewLogging(log, p.DeviceConfig.Desc, p.DeviceConfig.Used, size, false)
	if !ok {
		t.Fatal("the log does not cover the ring")
	}
	q.SetLogging(l)
	if _, err := p.Driver.Add(nil, []vring.Part{vringtest.Part(p.HeapAt(0), 200*page)}); err != nil {
		t.Fatal(err)
	}
	p.Driver.Publish()
	q.Available()
	if !q.Pop(new(vring.Chain)) {
		t.Fatal(q.Err())
	}
	q.LogViews(most)
	at := uint64(p.HeapAt(0)) / page
	if got, want := marked(bits), []uint64{at, at + 1, at + 2}; !slices.Equal(got, want) {
		t.Errorf("pages %#x are marked, want %#x", got, want)
	}
}
