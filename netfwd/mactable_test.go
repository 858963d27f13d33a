package netfwd

import (
	"fmt"
	"math/rand"
	"testing"
	"time"
)

const testAge = 64 * time.Second // one step a second

// station is a unicast address.
func station(n int) mac { return mac(0x02) | mac(n+1)<<16 }

func TestMACTableLearnsMovesAndAges(t *testing.T) {
	start := time.Unix(1000, 0)
	table := newMACTable([]macShare{{limit: 4}, {limit: 4}, {limit: 4, uplink: true}}, testAge)
	table.tick(start)
	at := func(want int) {
		t.Helper()
		if got := table.lookup(station(1)); got != want {
			t.Fatalf("at port %d, want %d", got, want)
		}
	}
	at(noPort)
	table.learn(station(1), 0)
	at(0)
	if table.learn(station(1), 1); table.moves != 1 {
		t.Errorf("%d moves, want 1", table.moves)
	}
	at(1)
	table.tick(start.Add(testAge))
	at(1)
	table.tick(start.Add(testAge + 2*time.Second))
	at(noPort)
	if table.learned() != 0 {
		t.Errorf("%d addresses are left", table.learned())
	}
	// Each frame makes it young again.
	table.learn(station(1), 0)
	for s := range 10 {
		table.tick(start.Add(time.Duration(2+s) * testAge / 2 * 2))
		table.learn(station(1), 0)
		at(0)
	}
}

// What an uplink has seen, and static addresses, no app VM can claim.
func TestMACTableRefusesTheft(t *testing.T) {
	start := time.Unix(1000, 0)
	table := newMACTable([]macShare{{limit: 4}, {limit: 4}, {limit: 4, uplink: true}, {limit: 4, uplink: true}}, testAge)
	table.tick(start)
	table.fix(station(0), 1)
	for port, want := range []bool{false, true, false, false} {
		if got := table.learn(station(0), port); got != want || table.lookup(station(0)) != 1 {
			t.Errorf("port %d with the static address of port 1: %v, at %d", port, got, table.lookup(station(0)))
		}
	}
	// Claimed in advance, an uplink takes it back, and keeps it while it is in use.
	if !table.learn(station(1), 0) || !table.learn(station(1), 2) || table.lookup(station(1)) != 2 {
		t.Error("the uplink's address stays with who claimed it first")
	}
	if table.learn(station(1), 0) || table.lookup(station(1)) != 2 {
		t.Error("an app VM stole an uplink's address")
	}
	if !table.learn(station(1), 3) || table.lookup(station(1)) != 3 {
		t.Error("an address cannot move between uplinks")
	}
	table.tick(start.Add(testAge + 2*time.Second))
	if !table.learn(station(1), 0) || table.lookup(station(1)) != 0 {
		t.Error("an address cannot move to an app VM when it has long been silent")
	}
	table.tick(start.Add(100 * testAge))
	if table.lookup(station(0)) != 1 {
		t.Error("a static address aged")
	}
}

// A port that floods addresses fills its own share, and no one else loses one.
func TestMACTableUnderFlood(t *testing.T) {
	start := time.Unix(1000, 0)
	shares := make([]macShare, 8)
	for i := range shares {
		shares[i].limit = 32
	}
	table := newMACTable(shares, testAge)
	table.tick(start)
	owner := func(n int) int { return 1 + n%7 }
	for n := range 7 * 32 {
		table.learn(station(n), owner(n))
	}
	if table.learned() != 7*32 || table.refused != 0 {
		t.Fatalf("%d learned, %d refused", table.learned(), table.refused)
	}
	rng := rand.New(rand.NewSource(1))
	for range 100_000 {
		table.learn(mac(rng.Uint64())&macBits&^1|2, 0)
	}
	for n := range 7 * 32 {
		if got := table.lookup(station(n)); got != owner(n) {
			t.Fatalf("station %d is at %d, want %d", n, got, owner(n))
		}
	}
	if table.ports[0].learned != 32 || table.refused != 100_000-32 {
		t.Errorf("%d learned from the flood, %d refused", table.ports[0].learned, table.refused)
	}
	// A port at its limit takes no address from another either.
	if !table.learn(station(0), 0) || table.lookup(station(0)) != owner(0) {
		t.Error("a port at its limit took an address over")
	}
	table.forget(0)
	if table.ports[0].learned != 0 || table.learned() != 7*32 {
		t.Errorf("%d are left of the flood, %d altogether", table.ports[0].learned, table.learned())
	}
}

// Whatever addresses a port sends, no search gets long: the hash is secret.
func TestMACTableSearchesStayShort(t *testing.T) {
	for _, pattern := range []func(i int) mac{
		func(i int) mac { return mac(i)<<8 | 2 },
		func(i int) mac { return mac(i)<<24 | 2 },
		func(i int) mac { return mac(i)<<36 | 2 },
	} {
		table := newMACTable([]macShare{{limit: 4096}}, testAge)
		longest := 0
		for i := range 4096 {
			key := pattern(i + 1)
			table.learn(key, 0)
			longest = max(longest, (table.find(key)-table.home(key))&(len(table.slots)-1))
		}
		if longest > 100 { // at random some 20; a hash that loses these bits probes thousands
			t.Errorf("%d slots were searched for %x", longest, pattern(1))
		}
	}
}

func TestReservedAddresses(t *testing.T) {
	for b, want := range map[[6]byte]bool{
		{0x01, 0x80, 0xc2, 0, 0, 0x00}:              true,
		{0x01, 0x80, 0xc2, 0, 0, 0x0e}:              true,
		{0x01, 0x80, 0xc2, 0, 0, 0x0f}:              true,
		{0x01, 0x80, 0xc2, 0, 0, 0x10}:              false,
		{0x01, 0x80, 0xc2, 0, 1, 0x00}:              false,
		{0x00, 0x80, 0xc2, 0, 0, 0x00}:              false,
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:        false,
		{0x01, 0x00, 0x5e, 0x00, 0x00, 0x01}:        false,
		{0x33, 0x33, 0x00, 0x00, 0x00, 0x01}:        false,
		{0x01, 0x80, 0xc2, 0x00, 0x00, 0x21}:        false,
		{0x01, 0x80, 0xc2, 0x01, 0x00, 0x01}:        false,
		{0x01, 0x80, 0xc3, 0x00, 0x00, 0x00}:        false,
		{0x01, 0x81, 0xc2, 0x00, 0x00, 0x00}:        false,
		{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0f | 0x80}: false,
	} {
		if got := macOf(b[:]).isReserved(); got != want {
			t.Errorf("%x: reserved %v", b, got)
		}
	}
}

// FuzzMACTable holds the table against a map that does the same without slots. Each
// byte pair is an operation.
func FuzzMACTable(f *testing.F) {
	f.Add([]byte("\x00\x01\x01\x01\x00\x02\x03\x00\x00\x01"))
	f.Add([]byte("\x10\x01\x11\x02\x12\x03\x13\x04\xf0\x00\x14\x05\xe1\x00\x10\x02"))
	f.Add([]byte("\x00\x10\x01\x20\x02\x30\xf0\xff\x00\x20\xe0\x00\x01\x10\xf0\x40\x03\x50"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		const limit, ports = 5, 4
		shares := make([]macShare, ports)
		for i := range shares {
			shares[i] = macShare{limit: limit, uplink: i == 3}
		}
		start := time.Unix(0, 0)
		now := start
		table := newMACTable(shares, testAge)
		table.tick(now)
		table.fix(station(0), 1)
		type entry struct{ port, seen int }
		model := map[int]entry{}
		count := func(port int) (n int) {
			for _, e := range model {
				if e.port == port {
					n++
				}
			}
			return n
		}
		for ; len(ops) >= 2; ops = ops[2:] {
			op, arg := ops[0], ops[1]
			step := int(now.Sub(start) / time.Second)
			switch port := int(op % ports); {
			case op >= 0xf0: // time passes; two ticks sweep all of so few slots
				now = now.Add(time.Duration(arg) * time.Second / 2)
				table.tick(now)
				table.tick(now)
				step = int(now.Sub(start) / time.Second)
				for n, e := range model {
					if step-e.seen > macSteps {
						delete(model, n)
					}
				}
			case op >= 0xe0:
				table.forget(port)
				for n, e := range model {
					if e.port == port {
						delete(model, n)
					}
				}
			default:
				n := int(arg % 32)
				e, known := model[n]
				want := true
				switch {
				case n == 0:
					want = port == 1
				case known && e.port == port:
					model[n] = entry{port, step}
				case known && e.port == 3:
					want = false
				case count(port) < limit:
					model[n] = entry{port, step}
				}
				if got := table.learn(station(n), port); got != want {
					t.Fatalf("learn %d at %d: %v, want %v", n, port, got, want)
				}
			}
			if table.learned() != len(model) || table.lookup(station(0)) != 1 {
				t.Fatalf("%d learned, want %d; the static address is at %d", table.learned(), len(model), table.lookup(station(0)))
			}
			for n := 1; n < 32; n++ {
				want := noPort
				if e, known := model[n]; known {
					want = e.port
				}
				if got := table.lookup(station(n)); got != want {
					t.Fatalf("station %d is at %d, want %d", n, got, want)
				}
			}
		}
	})
}

func BenchmarkMACTable(b *testing.B) {
	for _, n := range []int{2, 200, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table := newMACTable([]macShare{{limit: 4096}}, testAge)
			for i := range n {
				table.learn(station(i), 0)
			}
			keys := make([]mac, 1024)
			for i := range keys {
				keys[i] = station(rand.Intn(n))
			}
			for i := 0; b.Loop(); i++ {
				table.learn(keys[i%1024], 0)
				table.lookup(keys[(i+512)%1024])
			}
		})
	}
}
