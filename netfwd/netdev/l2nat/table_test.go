package l2nat

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const testAge = 64 * time.Second // a step is a second

// at is a moment of a test.
func at(seconds int) time.Time { return time.Unix(1000+int64(seconds), 0) }

func v4(n int) address { return address{low: uint64(10<<24 + n), place: ipv4} }

func TestFirstOwnerKeepsAnAddressWhileItSends(t *testing.T) {
	tab := newTable(defaultLimits, testAge)
	tab.tick(at(0))
	const a, b = mac(0xa), mac(0xb)
	if !tab.claim(v4(1), a, false) || tab.owner(v4(1)) != a {
		t.Fatal("the first one does not get it")
	}
	for s := 0; s < 300; s += 30 {
		tab.tick(at(s))
		if tab.claim(v4(1), b, false) || tab.owner(v4(1)) != a {
			t.Fatalf("taken away after %d s", s)
		}
		tab.claim(v4(1), a, false)
	}
	last := 270
	tab.tick(at(last + 64))
	if tab.claim(v4(1), b, false) {
		t.Error("taken away before its age")
	}
	tab.tick(at(last + 66))
	if !tab.claim(v4(1), b, false) || tab.owner(v4(1)) != b || tab.claim(v4(1), a, false) {
		t.Error("it does not move after its age")
	}
	other := v4(1)
	other.place |= 5
	if !tab.claim(other, a, false) || tab.owner(other) != a || tab.owner(v4(1)) != b {
		t.Error("an address in a VLAN is not another one")
	}
}

func TestLeasesCountMore(t *testing.T) {
	tab := newTable(defaultLimits, testAge)
	tab.tick(at(0))
	const a, b = mac(0xa), mac(0xb)
	tab.claim(v4(1), a, false) // squats
	if !tab.claim(v4(1), b, true) || tab.owner(v4(1)) != b || tab.moved != 1 {
		t.Error("a lease does not count more than use")
	}
	for _, leased := range []bool{false, true} {
		if tab.claim(v4(1), a, leased) || tab.owner(v4(1)) != b {
			t.Errorf("a leased address is taken away, by a lease: %v", leased)
		}
	}
	tab.claim(v4(2), a, false)
	tab.claim(v4(2), a, true) // uses what it had as a lease
	if tab.claim(v4(2), b, true) {
		t.Error("a leased address that was used before is taken away")
	}
}

func TestLimits(t *testing.T) {
	tab := newTable(limits{addresses: 10, stations: 3, each: 4}, testAge)
	tab.tick(at(0))
	known := func(a mac, from, to int) (n int) {
		for i := from; i < to; i++ {
			if tab.owner(v4(i)) == a {
				n++
			}
		}
		return n
	}
	for s := range 5 {
		for i := range 6 {
			if !tab.claim(v4(100*s+i), mac(s+1), false) {
				t.Fatal("an address of no one is refused")
			}
		}
	}
	for s, want := range []int{4, 4, 2, 0, 0} {
		if got := known(mac(s+1), 100*s, 100*s+6); got != want {
			t.Errorf("station %d has %d addresses, want %d", s, got, want)
		}
	}
	if tab.refused != 20 || tab.stations.used != 3 || tab.owners.used != 10 {
		t.Errorf("%d refused, %d stations, %d addresses", tab.refused, tab.stations.used, tab.owners.used)
	}
	// What has aged makes room, with ticks alone.
	for i := range 2 * len(tab.owners.slots) {
		tab.tick(at(100 + i/100))
	}
	if tab.owners.used != 0 || tab.stations.used != 0 {
		t.Errorf("%d addresses and %d stations are left", tab.owners.used, tab.stations.used)
	}
	if tab.claim(v4(7), 9, false); tab.owner(v4(7)) != 9 {
		t.Error("there is no room")
	}
}

// A table does what a map would.
func TestTableIsAMap(t *testing.T) {
	type entry struct {
		station mac
		seen    int
		leased  bool
	}
	rapid.Check(t, func(t *rapid.T) {
		l := limits{
			addresses: rapid.IntRange(1, 12).Draw(t, "addresses"), stations: rapid.IntRange(1, 5).Draw(t, "stations"), each: rapid.IntRange(1, 5).Draw(t, "each"),
		}
		tab, now := newTable(l, testAge), 0
		tab.tick(at(0))
		model := map[address]entry{}
		count := func(of mac) (n, stations int) {
			seen := map[mac]bool{}
			for _, e := range model {
				seen[e.station] = true
				if e.station == of {
					n++
				}
			}
			return n, len(seen)
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 5).Draw(t, "wait") == 0 {
				now += rapid.IntRange(0, 50).Draw(t, "seconds")
				for range len(tab.owners.slots)/sweep + 3 { // all that has aged is gone
					tab.tick(at(now))
				}
				for a, e := range model {
					if now-e.seen > steps {
						delete(model, a)
					}
				}
				continue
			}
			a := address{low: rapid.Uint64Range(1, 20).Draw(t, "address"), place: ipv4 * uint32(rapid.IntRange(0, 1).Draw(t, "family"))}
			s, leased := mac(rapid.IntRange(1, 7).Draw(t, "station")), rapid.Bool().Draw(t, "leased")
			got := tab.claim(a, s, leased)
			e, known := model[a]
			want := !known || e.station == s || leased && !e.leased
			if known && e.station == s {
				leased = leased || e.leased
			} else if want {
				delete(model, a)
			}
			if want {
				own, all := count(s)
				if _, again := model[a]; again || len(model) < l.addresses && own < l.each && (own > 0 || all < l.stations) {
					model[a] = entry{s, now, leased}
				}
			}
			if got != want {
				t.Fatalf("claim of %v by %v: %v, want %v", a, s, got, want)
			}
			if tab.owners.used != len(model) {
				t.Fatalf("%d addresses, want %d", tab.owners.used, len(model))
			}
			for a, e := range model {
				if tab.owner(a) != e.station {
					t.Fatalf("%v belongs to %v, want %v", a, tab.owner(a), e.station)
				}
			}
			if _, stations := count(0); tab.stations.used != stations {
				t.Fatalf("%d stations, want %d", tab.stations.used, stations)
			}
		}
	})
}

func TestDealings(t *testing.T) {
	var d dealings
	find := func(xid uint32, now uint32) mac { return d.find(xid, 0xc, 0, now) }
	d.note(dealing{1, 0xc, 0, 0xa}, 5)
	if find(1, 5) != 0xa || find(2, 5) != 0 || d.find(1, 0xd, 0, 5) != 0 || d.find(1, 0xc, 7, 5) != 0 {
		t.Error("not found, or found by something else")
	}
	if find(1, 5+steps) != 0xa || find(1, 6+steps) != 0 {
		t.Error("found for too long or not long enough")
	}
	d.note(dealing{1, 0xc, 0, 0xa}, 50)
	if find(1, 100) != 0xa {
		t.Error("not renewed")
	}
	// A station has room for some only; the others do not notice.
	d.note(dealing{2, 0xc, 0, 0xb}, 50)
	for i := range 1000 {
		d.note(dealing{uint32(1000 + i), 0xc, 0, 0xe}, uint32(51+i/100))
	}
	if find(1, 60) != 0xa || find(2, 60) != 0xb {
		t.Error("one station takes another's room")
	}
	n := 0
	for i := range 1000 {
		if find(uint32(1000+i), 60) != 0 {
			n++
		}
	}
	if n != ownDealings || find(1999, 60) != 0xe {
		t.Errorf("of one station's %d are known, and the last one: %v", n, find(1999, 60))
	}
	for i := range 2 * maxDealings {
		d.note(dealing{5, 0xc, 0, mac(100 + i)}, 61)
	}
	if find(5, 61) == 0 {
		t.Error("nothing is remembered when all is full")
	}
}

func TestHashTableKeepsWhatIsInIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHashed[mac, int](8, func(a mac) (uint64, uint64) { return uint64(a), 0 })
		model := map[mac]int{}
		for i := range rapid.IntRange(1, 100).Draw(t, "steps") {
			k := mac(rapid.IntRange(0, 20).Draw(t, "key"))
			at, found := h.find(k)
			if v, want := model[k]; found != want || found && h.slots[at].value != v {
				t.Fatalf("%v: found %v", k, found)
			}
			switch {
			case found && rapid.Bool().Draw(t, "remove"):
				h.remove(at)
				delete(model, k)
			case !found && len(model) < 8:
				h.put(at, k, i)
				model[k] = i
			}
			if h.used != len(model) {
				t.Fatalf("%d are used, want %d", h.used, len(model))
			}
		}
	})
}
