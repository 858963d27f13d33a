package vring_test

import (
	"errors"
	"slices"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// parts are n parts of 10, 11, 12 ... bytes at made-up addresses.
func parts(n int) []vring.Part {
	p := make([]vring.Part, n)
	for i := range p {
		p[i] = vring.Part{Addr: 0x1_0000_0000 + uint64(i)*64, Len: uint32(10 + i)}
	}
	return p
}

func TestAddRefused(t *testing.T) { bothFormats(t, testAddRefused) }

func testAddRefused(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 4})
	q := p.Driver
	for _, n := range []int{0, 5, 100} {
		if _, err := q.Add(parts(n), nil); err == nil || errors.Is(err, vring.ErrFull) {
			t.Errorf("buffer of %d parts: %v", n, err)
		}
	}
	if q.Free() != 4 || q.Outstanding() != 0 || q.Publish() {
		t.Errorf("refused buffers changed the ring: %d free, %d outstanding", q.Free(), q.Outstanding())
	}
}

// A full ring refuses, changes nothing, and goes on when there is room again.
func TestAddToFullRing(t *testing.T) { bothFormats(t, testAddToFullRing) }

func testAddToFullRing(t *testing.T, packed bool) {
	for _, ind := range []bool{false, true} {
		p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 4, Indirect: ind, IndirectParts: 2})
		q := p.Driver
		if _, err := q.Add(parts(3), nil); err != nil { // longer than the tables: direct
			t.Fatal(err)
		}
		if q.Free() != 1 || q.Outstanding() != 1 {
			t.Fatalf("%d free, %d outstanding", q.Free(), q.Outstanding())
		}
		_, err := q.Add(parts(1), parts(1))
		if ind != (err == nil) || !ind && !errors.Is(err, vring.ErrFull) {
			t.Fatalf("indirect %v: two parts in one free descriptor: %v", ind, err)
		}
		if !ind {
			if _, err := q.Add(nil, parts(1)); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []int{1, 2, 3} {
			if _, err := q.Add(parts(n), nil); !errors.Is(err, vring.ErrFull) {
				t.Errorf("full ring took %d parts: %v", n, err)
			}
		}
		if q.Free() != 0 || q.Outstanding() != 2 {
			t.Fatalf("%d free, %d outstanding", q.Free(), q.Outstanding())
		}
		q.Publish()
		drain(t, p, 2)
		if q.Free() != 4 || q.Outstanding() != 0 {
			t.Fatalf("after all came back: %d free, %d outstanding", q.Free(), q.Outstanding())
		}
		if _, err := q.Add(parts(4), nil); err != nil {
			t.Errorf("an empty ring refuses: %v", err)
		}
	}
}

// drain completes and takes n buffers.
func drain(t *testing.T, p *vringtest.Pair, n int) {
	t.Helper()
	if got := p.Device.Available(); got != n {
		t.Fatalf("%d buffers are available, want %d; fault %v", got, n, p.Device.Err())
	}
	var c vring.Chain
	for p.Device.Pop(&c) {
		p.Device.Push(c.Head, c.WriteLen)
	}
	p.Device.ResetViews()
	p.Device.Publish()
	var u vring.Used
	if got := p.Driver.Completed(); got != n {
		t.Fatalf("%d buffers are completed, want %d; fault %v", got, n, p.Driver.Err())
	}
	for range n {
		if !p.Driver.Take(&u) {
			t.Fatal(p.Driver.Err())
		}
	}
}

func TestNextHead(t *testing.T) { bothFormats(t, testNextHead) }

func testNextHead(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 8, Indirect: true, IndirectParts: 2})
	for round := range 20 {
		for p.Driver.Free() > 0 {
			want := p.Driver.NextHead()
			head, err := p.Driver.Add(parts(1+round%min(3, p.Driver.Free())), nil)
			if err != nil || head != want {
				t.Fatalf("head is %d, NextHead said %d; %v", head, want, err)
			}
		}
		p.Driver.Publish()
		drain(t, p, p.Driver.Outstanding())
	}
}

// Completions come in any order; each gives back its own descriptors.
func TestOutOfOrderCompletion(t *testing.T) {
	p := vringtest.NewPair(t, vringtest.Config{Size: 16, Start: 65531})
	q := p.Driver
	sizes := map[uint16]int{}
	var heads []uint16
	for _, n := range []int{1, 3, 2, 4, 1, 5} {
		head, err := q.Add(parts(1), parts(n)[1:])
		if err != nil {
			t.Fatal(err)
		}
		sizes[head] = n
		heads = append(heads, head)
	}
	q.Publish()
	var c vring.Chain
	byHead := map[uint16]vring.Chain{}
	for p.Device.Available(); p.Device.Pop(&c); {
		byHead[c.Head] = c
	}
	free := q.Free()
	for _, i := range []int{5, 0, 3, 1, 4, 2} {
		c := byHead[heads[i]]
		p.Device.Push(c.Head, c.WriteLen)
		p.Device.Publish()
		var u vring.Used
		if q.Completed() != 1 || !q.Take(&u) || u.Head != heads[i] || u.Len != c.WriteLen {
			t.Fatalf("took %+v, want head %d with %d bytes; fault %v", u, heads[i], c.WriteLen, q.Err())
		}
		if free += sizes[u.Head]; q.Free() != free {
			t.Fatalf("%d descriptors are free, want %d", q.Free(), free)
		}
	}
	// All descriptors are there again, each once.
	var got []int
	if _, err := q.Add(parts(16), nil); err != nil {
		t.Fatal(err)
	}
	for i, n := int(p.Raw.AvailEntry(q16(p))), 0; n < 16; n++ {
		got = append(got, i)
		i = int(vringtest.Desc(p.Raw.Table, i).Next)
	}
	slices.Sort(got)
	for i, d := range got {
		if i != d {
			t.Fatalf("chain of all descriptors is made of %v", got)
		}
	}
}

// q16 is the avail index of what was added last and not yet published.
func q16(p *vringtest.Pair) uint16 { return p.Raw.AvailIdx() }

// Only Completed looks at used.idx.
func TestCompletedIsTheOnlyLook(t *testing.T) { bothFormats(t, testCompletedIsTheOnlyLook) }

func testCompletedIsTheOnlyLook(t *testing.T, packed bool) {
	p := vringtest.NewPair(t, vringtest.Config{Packed: packed, Size: 4})
	offer(t, p, 3)
	var c vring.Chain
	p.Device.Available()
	p.Device.Pop(&c)
	p.Device.Push(c.Head, 0)
	p.Device.Publish()
	var u vring.Used
	if p.Driver.Take(&u) {
		t.Error("taken before Completed")
	}
	if p.Driver.Completed() != 1 {
		t.Fatal(p.Driver.Err())
	}
	p.Device.Pop(&c)
	p.Device.Push(c.Head, 0)
	p.Device.Publish()
	if !p.Driver.Take(&u) || p.Driver.Take(&u) {
		t.Error("Take does not hand out what Completed saw")
	}
	if p.Driver.Completed() != 1 {
		t.Error("the second completion is lost")
	}
}

// A device may write less than the buffer holds, and some report a length for
// buffers they only read (against 2.7.8.2), which counts as nothing.
func TestUsedLengths(t *testing.T) {
	for _, tt := range []struct {
		read, write int
		used, want  uint32
	}{
		{1, 0, 0, 0}, {1, 0, 1514, 0}, {1, 0, 0xffff_ffff, 0},
		{0, 1, 0, 0}, {0, 1, 10, 10}, {1, 2, 20, 20}, {2, 2, 21, 21},
	} {
		p := vringtest.NewPair(t, vringtest.Config{Size: 8})
		head, err := p.Driver.Add(parts(tt.read), parts(tt.write))
		if err != nil {
			t.Fatal(err)
		}
		p.Driver.Publish()
		p.Raw.Complete(uint32(head), tt.used)
		var u vring.Used
		if p.Driver.Completed(); !p.Driver.Take(&u) || u.Len != tt.want {
			t.Errorf("%+v: took %+v, fault %v", tt, u, p.Driver.Err())
		}
	}
}
