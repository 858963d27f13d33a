package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// sparse makes memory files of so many bytes each, with nothing in them.
func sparse(t *testing.T, n int, size int64) (files []int) {
	t.Helper()
	for range n {
		fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Ftruncate(fd, size); err != nil {
			t.Fatal(err)
		}
		files = append(files, fd)
	}
	return files
}

// sparseTable is a memory table of whole files.
func sparseTable(n int, size uint64) (table vhostuser.MemoryTable) {
	for i := range uint64(n) {
		table = append(table, vhostuser.MemoryRegion{GPA: i * size, Size: size, UVA: i*size + 1<<50})
	}
	return table
}

// told sends a message that wants an acknowledgement, and returns whether it was refused.
func (g *guest) told(r vhostuser.Request, p vhostuser.Payload, fds ...int) (refused bool, err error) {
	m := vhostuser.NewRequest(r, p)
	m.Flags |= vhostuser.FlagNeedReply
	if err := g.raw(m.Append(nil), fds...); err != nil {
		return false, err
	}
	got, payload, err := g.hear()
	var v vhostuser.U64
	if err == nil {
		err = v.Decode(payload)
	}
	if err == nil && got != r {
		err = fmt.Errorf("%v is answered with %v", r, got)
	}
	return v != 0, err
}

// Front-ends that share as much as the address space of a process has, with nothing behind
// it, at once or piece by piece, are refused, with a line that says what was too much and
// which flag there is. Others go on, and come.
func TestSparseGiants(t *testing.T) {
	f := startForwarder(t, 6)
	startVictim(t, f, 4, 5, gentle...)
	before := f.census(t)
	const table, piece = 4 << 40, 256 << 30 // 128 TiB in 32 files, or as far as 509 go
	for name, attack := range map[string]func(g *guest) (refused bool, err error){
		"a table": func(g *guest) (bool, error) {
			return g.told(vhostuser.SetMemTable, sparseTable(32, table), sparse(t, 32, table)...)
		},
		"pieces": func(g *guest) (refused bool, err error) {
			file := sparse(t, 1, piece)
			for i, r := range sparseTable(508, piece) {
				r.GPA += 1 << 52
				if refused, err = g.told(vhostuser.AddMemReg, vhostuser.SingleRegion(r), file...); refused || err != nil {
					break
				}
				if i == 507 {
					return false, errors.New("none was refused")
				}
			}
			return refused, err
		},
	} {
		var attackers []*guest
		for i := range 2 {
			mark := f.log.mark()
			a := join(t, f.sockets[i])
			attackers = append(attackers, a)
			if refused, err := attack(a); !refused || err != nil {
				t.Errorf("%s: refused is %v (%v)", name, refused, err)
			}
			f.log.await(t, mark, f.sockets[i], "--max-memory")
			if len(f.log.find(mark, says(f.sockets[i], "MiB that one may share"))) == 0 {
				t.Errorf("%s: the refusal does not say how much is too much", name)
			}
		}
		// While they are there, and hold what they got, others find room.
		c, d := join(t, f.sockets[2]), join(t, f.sockets[3])
		exchange(t, c, d)
		if err := errors.Join(c.leave(), d.leave()); err != nil {
			t.Error(err)
		}
		for _, a := range attackers {
			a.leave()
		}
	}
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	exchange(t, a, b)
	a.leave()
	b.leave()
	f.settled(t, before)
}

// As many regions as there can be, each in a file of its own, of which vvufwd keeps none
// open; frames lie in all of them, in no order, and one region more is refused without
// harm to the others.
func TestMostRegions(t *testing.T) {
	f := startForwarder(t, 2)
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	exchange(t, a, b)
	payload, err := a.ask(vhostuser.GetMaxMemSlots, nil)
	var slots vhostuser.U64
	if err == nil {
		err = slots.Decode(payload)
	}
	if err != nil || slots != 509 {
		t.Fatalf("%d regions can be had (%v), want 509", slots, err)
	}
	before := f.census(t)
	const first, size, stride = 0x200_0000_0000, 64 << 10, 1 << 27
	more := int(slots) - len(regions)
	files := sparse(t, more, size)
	place := func(i int) vhostuser.SingleRegion {
		at := uint64(i) * stride
		return vhostuser.SingleRegion{GPA: first + at, Size: size, UVA: 1<<45 + at}
	}
	for i, fd := range files {
		if refused, err := a.told(vhostuser.AddMemReg, place(i), fd); refused || err != nil {
			t.Fatalf("region %d: refused is %v (%v)", i, refused, err)
		}
	}
	if refused, err := a.told(vhostuser.AddMemReg, place(more), files[0]); !refused || err != nil {
		t.Errorf("one region too many: refused is %v (%v)", refused, err)
	}
	if now := f.census(t); now.files != before.files || now.mappings < before.mappings+more {
		t.Errorf("%d regions more: %v before, %v now", more, before, now)
	}
	send := func(i int) {
		t.Helper()
		want := testFrame(uint64(i), 700)
		if _, err := unix.Pwrite(files[i], append(make([]byte, vnetHeader), want...), 100); err != nil {
			t.Fatal(err)
		}
		r := a.rings[transmitRing]
		r.set(0, desc{Addr: place(i).GPA + 100, Len: uint32(vnetHeader + len(want))})
		r.offer(0)
		a.kick(transmitRing)
		if _, err := b.awaitFrame(patience, func(got []byte) bool { return bytes.Equal(got, want) }); err != nil {
			t.Fatalf("region %d: %v", i, err)
		}
	}
	for i := range more {
		send(i * 193 % more)
	}
	// One by one they go again. Those that are left stay.
	for i := 1; i < more; i += 2 {
		if refused, err := a.told(vhostuser.RemMemReg, place(i)); refused || err != nil {
			t.Fatalf("region %d: refused is %v (%v)", i, refused, err)
		}
	}
	if now := f.census(t); now.mappings >= before.mappings+more/2+10 {
		t.Errorf("half of %d regions are gone: %v before, %v now", more, before, now)
	}
	send(0)
	send(more - 2 + more%2)
	unbroken(t, f, a)
}

// A front-end with as many regions as there can be that adds and removes one without end.
func TestRegionsComeAndGo(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	before := f.census(t)
	const size = 64 << 10
	file := sparse(t, 1, size)
	table := sparseTable(509-len(regions), size)
	for i := range table {
		table[i].GPA += 1 << 52
		if refused, err := a.told(vhostuser.AddMemReg, vhostuser.SingleRegion(table[i]), file...); refused || err != nil {
			t.Fatalf("region %d: refused is %v (%v)", i, refused, err)
		}
	}
	full := f.census(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	start := time.Now()
	n := cycles(t, 400, 20_000)
	for range n {
		r := vhostuser.SingleRegion(table[rnd.IntN(len(table))])
		if err := a.play([]message{{request: vhostuser.RemMemReg, payload: r}, {request: vhostuser.AddMemReg, payload: r, fds: file}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.barrier(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v for a region that goes and comes", time.Since(start)/time.Duration(n))
	exchange(t, a, b)
	f.settled(t, full)
	for _, r := range table {
		if refused, err := a.told(vhostuser.RemMemReg, vhostuser.SingleRegion(r)); refused || err != nil {
			t.Fatalf("refused is %v (%v)", refused, err)
		}
	}
	exchange(t, a, b)
	f.settled(t, before)
}
