package vring_test

import (
	"fmt"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// Chains of one to four slots through packed rings of all lengths around them, for
// many laps, pops taken back now and then: places and wrap counters stay right.
func TestPackedChainsAcrossTheEnd(t *testing.T) {
	for _, size := range []int{1, 2, 3, 4, 5, 7, 8, 13, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: size})
			addr, buf := p.Alloc(4)
			var chains [4]vring.Chain
			var u vring.Used
			at, item := 0, uint32(0)
			for round := range 40 * size {
				var slots []int
				for n := 1 + round%min(4, size); n <= p.Driver.Free() && len(slots) < 4; n = 1 + (n+round)%min(4, size) {
					part := []vring.Part{vringtest.Part(addr, 4)}
					addOne(t, p.Driver, append(part, parts(n)[1:n/2+n%2]...), parts(n)[n/2+n%2:])
					slots = append(slots, n)
				}
				put32(buf, item)
				item++
				p.Driver.Publish()
				// What parts names is not memory, only the first descriptor of a chain is.
				for i, n := range slots {
					for k := 1; k < n; k++ {
						s := vringtest.SlotAt(at+sum(slots[:i])+k, size)
						d := vringtest.PackedAt(p.Raw.Table, s.At)
						d.Addr, d.Len = uint64(addr), 1
						vringtest.PutPacked(p.Raw.Table, s.At, d)
					}
				}
				pop := func(from int) {
					for i := from; i < len(slots); i++ {
						if !p.Device.Pop(&chains[i]) || get32(chains[i].Read[0]) != item-1 {
							t.Fatalf("round %d: chain %d of %v: %+v, fault %v", round, i, slots, chains[i], p.Device.Err())
						}
						if want := vringtest.SlotAt(at+sum(slots[:i+1]), size).Word(); p.Device.NextAvail() != want {
							t.Fatalf("round %d: next is %#x behind chain %d of %v, want %#x", round, p.Device.NextAvail(), i, slots, want)
						}
					}
				}
				if got := p.Device.Available(); got != len(slots) {
					t.Fatalf("round %d: %d chains available, want %v", round, got, slots)
				}
				pop(0)
				back := round % (len(slots) + 1)
				p.Device.Unpop(back)
				if want := vringtest.SlotAt(at+sum(slots[:len(slots)-back]), size).Word(); p.Device.NextAvail() != want {
					t.Fatalf("round %d: next is %#x after %d of %v were taken back, want %#x", round, p.Device.NextAvail(), back, slots, want)
				}
				pop(len(slots) - back)
				for i := range slots { // in reverse order every second time
					p.Device.Push(chains[max(i, (len(slots)-1)*(round%2))-i*(round%2)].Head, 0)
				}
				p.Device.Publish()
				p.Device.ResetViews()
				at += sum(slots)
				word := vringtest.SlotAt(at, size).Word()
				if want := uint32(word)<<16 | uint32(word); p.Device.Position() != want {
					t.Fatalf("round %d: position %#x, want %#x", round, p.Device.Position(), want)
				}
				if p.Driver.Completed() != len(slots) {
					t.Fatalf("round %d: %d of %v came back, fault %v", round, p.Driver.Completed(), slots, p.Driver.Err())
				}
				for p.Driver.Take(&u) {
				}
				if p.Driver.Free() != size {
					t.Fatalf("round %d: %d of %d are free, fault %v", round, p.Driver.Free(), size, p.Driver.Err())
				}
			}
		})
	}
}

func sum(n []int) (total int) {
	for _, v := range n {
		total += v
	}
	return total
}

// A device side made anew goes on at the place that the last one reported, on either
// lap.
func TestPackedDeviceResumes(t *testing.T) {
	for _, start := range []uint16{2, 7, 12, 14} { // of 5: laps 0, 1, 2, 2
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 5, Start: start})
		heads := offer(t, p, 4)
		complete(t, p, 2)
		p.DeviceConfig.NextAvail = uint16(p.Device.Position())
		q, err := vring.NewDevice(p.DeviceConfig)
		if err != nil {
			t.Fatal(err)
		}
		p.Device = q
		if q.Available() != 2 {
			t.Fatalf("start %d: %d chains are left, want 2; fault %v", start, q.Pending(), q.Err())
		}
		complete(t, p, 2)
		var u vring.Used
		if p.Driver.Completed() != 4 {
			t.Fatalf("start %d: fault %v", start, p.Driver.Err())
		}
		for _, want := range heads {
			if !p.Driver.Take(&u) || u.Head != want {
				t.Errorf("start %d: took %d, want %d", start, u.Head, want)
			}
		}
	}
}

// Avail and used bits of what follows in a chain do not matter, only the first's do:
// it is made available last. What is not available is not looked at.
func TestPackedAvailability(t *testing.T) {
	for flags, want := range map[uint16]bool{
		0: false, vringtest.Avail: true, vringtest.Used: false, vringtest.Avail | vringtest.Used: false,
		vringtest.Avail | 0x7f78: true, // reserved bits
	} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4})
		addr, _ := p.Alloc(8)
		vringtest.PutPacked(p.Raw.Table, 0, vringtest.Packed{Addr: uint64(addr), Len: 8, ID: 77, Flags: flags})
		if got := p.Device.Available() == 1; got != want {
			t.Errorf("flags %#x: available %v", flags, got)
		}
		vringtest.PutPacked(p.Raw.Table, 0, vringtest.Packed{Addr: uint64(addr), Len: 1, Flags: vringtest.Avail | next})
		vringtest.PutPacked(p.Raw.Table, 1, vringtest.Packed{Addr: uint64(addr), Len: 2, ID: 9, Flags: flags &^ 7})
		if want {
			continue
		}
		if c := popOne(t, p.Device); c.ReadLen != 3 {
			t.Errorf("flags %#x: chain of %d bytes", flags, c.ReadLen)
		}
		p.Device.Push(0, 0)
		p.Device.Publish()
		if d := vringtest.PackedAt(p.Raw.Table, 0); d.ID != 9 {
			t.Errorf("the chain is given back as %d, its last descriptor says 9", d.ID)
		}
	}
}

// A used length counts whether or not the device has set the write flag: QEMU's does
// not. Buffers that a device only reads have none.
func TestPackedUsedLengths(t *testing.T) {
	for _, tt := range []struct {
		read, write int
		used, want  uint32
	}{{1, 0, 0, 0}, {1, 0, 0xffff_ffff, 0}, {0, 1, 10, 10}, {2, 2, 21, 21}} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 8})
		head := addOne(t, p.Driver, parts(tt.read), parts(tt.write))
		p.Driver.Publish()
		vringtest.SlotAt(0, 8).Complete(p.Raw, head, tt.used)
		var u vring.Used
		if p.Driver.Completed(); !p.Driver.Take(&u) || u.Len != tt.want {
			t.Errorf("%+v: took %+v, fault %v", tt, u, p.Driver.Err())
		}
	}
}

// Names and slots are used up together: as many as an Add of several parts will use
// are known before, each once.
func TestPackedNextHeads(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 6})
	offer(t, p, 1)
	var heads [3]uint16
	p.Driver.NextHeads(heads[:])
	if head := addOne(t, p.Driver, parts(3), nil); head != heads[0] {
		t.Errorf("head %d, NextHeads said %v", head, heads)
	}
	seen := map[uint16]bool{0: true, heads[0]: true, heads[1]: true, heads[2]: true}
	var rest [2]uint16
	p.Driver.NextHeads(rest[:])
	seen[rest[0]], seen[rest[1]] = true, true
	if len(seen) != 6 || p.Driver.Free() != 2 {
		t.Errorf("names %v, %v; %d free", heads, rest, p.Driver.Free())
	}
}

// Buffers come back while others that Completed saw wait to be taken, for longer than
// the notes about them last.
func TestPackedTakeSlowly(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4})
	offer(t, p, 4)
	complete(t, p, 3)
	var u vring.Used
	p.Driver.Completed()
	for i := range 100 {
		if !p.Driver.Take(&u) {
			t.Fatal(p.Driver.Err())
		}
		offer(t, p, 1)
		complete(t, p, 1)
		if got := p.Driver.Completed(); got != 3 {
			t.Fatalf("round %d: %d done, want 3", i, got)
		}
	}
	if p.Driver.Outstanding() != 4 || p.Driver.Free() != 0 {
		t.Errorf("%d outstanding, %d free", p.Driver.Outstanding(), p.Driver.Free())
	}
}

// Two laps between two decisions end where they began: the event was passed all the
// same.
func TestPackedLapsBetweenDecisions(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: true, Size: 4, EventIdx: true})
	p.Device.NeedSignal()
	p.Driver.EnableInterrupts()
	p.Device.EnableKicks()
	for range 8 {
		offer(t, p, 1)
		complete(t, p, 1)
		take(t, p, 1)
	}
	if !p.Driver.NeedKick() || !p.Device.NeedSignal() {
		t.Error("two laps passed the event, but no one is told")
	}
	if p.Driver.NeedKick() || p.Device.NeedSignal() {
		t.Error("told twice")
	}
}
