package hostile

import (
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// vanish takes the guest's memory away while frames pass both ways, and leaves.
func vanish(a *guest, rnd *rand.Rand) {
	tr := startTraffic(a)
	time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond)
	unix.Ftruncate(a.ram.fd, int64(rnd.IntN(2))*mainBytes/2) // all of it, or all buffers
	for range 20 {
		a.kick(transmitRing)
		a.kick(receiveRing)
		time.Sleep(100 * time.Microsecond)
	}
	tr.stop()
	a.leave()
}

// Memory that is cut off under the forwarder. The partner goes on as if nothing had
// happened, without a new start.
func TestMemoryVanishes(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	before := f.census(t)
	faults := 0
	n := cycles(t, 20, 200)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range n {
		mark := f.log.mark()
		a := join(t, f.sockets[0])
		exchange(t, a, b)
		tr := startTraffic(b)
		vanish(a, rnd)
		if err := tr.stop(); err != nil {
			t.Fatalf("the partner: %v", err)
		}
		f.alive(t)
		if len(f.log.find(mark, says("", "fault"))) > 0 {
			faults++
		}
		a = join(t, f.sockets[0])
		exchange(t, a, b)
		a.leave()
	}
	t.Logf("of %d times that memory vanished, %d faults were logged", n, faults)
	if faults == 0 {
		t.Error("no fault was logged: did memory vanish at all?")
	}
	if p := f.stats.port(f.sockets[1]); len(p.Faults) > 0 {
		t.Errorf("the partner is blamed: %v", p.Faults)
	}
	f.settled(t, before)
}

func restartBoth(t *testing.T, g *guest) {
	t.Helper()
	for i := range g.rings {
		if err := g.restart(i, true); err != nil {
			t.Fatal(err)
		}
	}
}

// Memory that is there but suddenly empty: holes read as zeros.
func TestMemoryBecomesHoles(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	before := f.census(t)
	for range cycles(t, 20, 200) {
		tr, other := startTraffic(a), startTraffic(b)
		time.Sleep(time.Millisecond)
		if err := unix.Fallocate(a.ram.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, touched); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		tr.stop()
		if err := other.stop(); err != nil {
			t.Fatalf("the partner: %v", err)
		}
		restartBoth(t, a)
		exchange(t, a, b)
	}
	f.settled(t, before)
}

// Memory tables that change while rings run in them.
func TestTableSwaps(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	before := f.census(t)
	main, extra := vhostuser.SingleRegion(regions[0]), vhostuser.SingleRegion{GPA: 0x9000_0000, Size: 1 << 20, UVA: 0x7000_0000_0000, Offset: vastAt}
	reversed := vhostuser.MemoryTable{regions[4], regions[3], regions[2], regions[1], regions[0]}
	swaps := [][]message{
		{{request: vhostuser.SetMemTable, payload: regions, fds: a.ram.files()}},
		{{request: vhostuser.SetMemTable, payload: reversed, fds: a.ram.files()}},
		{{request: vhostuser.AddMemReg, payload: extra, fds: []int{a.ram.fd}}, {request: vhostuser.RemMemReg, payload: extra}},
		{{request: vhostuser.RemMemReg, payload: main}, {request: vhostuser.AddMemReg, payload: main, fds: []int{a.ram.fd}}},
		{{request: vhostuser.RemMemReg, payload: extra}}, // is not there
		{{request: vhostuser.SetMemTable, payload: regions[1:], fds: a.ram.files()[1:]}, {request: vhostuser.SetMemTable, payload: regions, fds: a.ram.files()}},
		{{request: vhostuser.SetMemTable, payload: tableOf(32), fds: same(a.ram.fd, 32)}, {request: vhostuser.SetMemTable, payload: regions, fds: a.ram.files()}},
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		tr, other := startTraffic(a), startTraffic(b)
		for range cycles(t, 20, 200) {
			if err := a.play(swaps[rnd.IntN(len(swaps))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.barrier(); err != nil {
			t.Fatal(err)
		}
		for _, tr := range []*traffic{tr, other} {
			if err := tr.stop(); err != nil {
				t.Fatal(err)
			}
		}
		exchange(t, a, b)
	}
	unbroken(t, f, a)
	f.settled(t, before)
}
