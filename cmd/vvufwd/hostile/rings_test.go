package hostile

import (
	"testing"

	"vvufwd/virtio/vring"
)

var ringNames = [2]string{receiveRing: "receive", transmitRing: "transmit"}

// A guest that breaks a rule of a ring stops that ring, and nothing else, until it
// starts the ring again.
func TestBrokenRings(t *testing.T) {
	f := startForwarder(t, 4, "--log-level=debug") // which is not sampled
	startVictim(t, f, 2, 3, gentle...)
	partner := join(t, f.sockets[1])
	defer partner.leave()
	before := f.census(t)
	faults := map[vring.Fault]uint64{}
	for i, name := range ringNames {
		for _, a := range ringAttacks {
			faults[a.fault] += 2
			t.Run(name+"/"+a.name, func(t *testing.T) { breakRing(t, f, partner, i, a) })
		}
	}
	f.settled(t, before)
	for fault, n := range faults {
		eventually(t, "the statistics count as often as it was broken: "+fault.String(), func() bool {
			return f.stats.port(f.sockets[0]).Faults[fault.String()] == n
		})
	}
	if p := f.stats.port(f.sockets[1]); len(p.Faults) > 0 {
		t.Errorf("the partner is blamed: %v", p.Faults)
	}
}

// breakRing plays an attack twice: then the ring is started again, and then the
// front-end comes back.
func breakRing(t *testing.T, f *forwarder, partner *guest, i int, a ringAttack) {
	features := a.features
	if features == 0 {
		features = defaultFeatures
	}
	// The ring to break is empty: the attack is the next thing that vvufwd sees.
	g := joinWith(t, f.sockets[0], features, i != receiveRing)
	defer func() { g.leave() }()
	mark := f.log.mark()
	attackRing(t, f, g, partner, i, a, false)
	stillBroken(t, f, g, partner, i, a, mark)
	if err := g.restart(i, true); err != nil {
		t.Fatal(err)
	}
	exchange(t, g, partner)

	if err := g.restart(i, false); err != nil {
		t.Fatal(err)
	}
	attackRing(t, f, g, partner, i, a, true)
	g.leave()
	g = joinWith(t, f.sockets[0], features, true)
	exchange(t, g, partner)
	f.alive(t)
}

// attackRing plays the attack and waits until its reason is in the log. A receive ring is
// looked at when a frame comes for it, or if seen is set before that: what finds the mistake then
// are other parts of vvufwd.
func attackRing(t *testing.T, f *forwarder, g, partner *guest, i int, a ringAttack, seen bool) {
	t.Helper()
	mark := f.log.mark()
	a.play(g.rings[i], [2]uint16{receiveRing: vring.DescWrite}[i])
	g.kick(i)
	if i == receiveRing {
		if seen {
			if err := carry(g, partner); err != nil {
				t.Fatal(err)
			}
		}
		if err := partner.send(testFrame(0, 200)); err != nil {
			t.Fatal(err)
		}
	}
	f.log.await(t, mark, g.path, a.fault.String())
}

// stillBroken makes sure that the ring is left alone from now on, that its reason
// was told once, and that the other ring works.
func stillBroken(t *testing.T, f *forwarder, g, partner *guest, i int, a ringAttack, mark int) {
	t.Helper()
	r := g.rings[i]
	used := r.usedIdx()
	r.set(ringEntries-1, desc{Addr: scratchGPA, Len: 2048, Flags: [2]uint16{receiveRing: vring.DescWrite}[i]})
	r.offer(ringEntries - 1)
	g.kick(i)
	from, to := partner, g
	if i == receiveRing {
		from, to = g, partner
		if err := partner.send(testFrame(0, 200)); err != nil {
			t.Fatal(err)
		}
	}
	if err := carry(from, to); err != nil {
		t.Errorf("the other ring does not work: %v", err)
	}
	if now := r.usedIdx(); now != used {
		t.Errorf("the broken ring's used index went from %d to %d", used, now)
	}
	if used != 0 {
		t.Errorf("%d buffers of a ring were used that held only the attack", used)
	}
	told := f.log.find(mark, says(g.path, "violated the ring protocol"))
	if len(told) != 1 || told[0].Ring != ringNames[i] || told[0].Level != "error" {
		t.Errorf("the log tells of it %d times, want once, as of ring %q: %+v", len(told), ringNames[i], told)
	}
}
