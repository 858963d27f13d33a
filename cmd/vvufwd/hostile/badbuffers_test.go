package hostile

import (
	"testing"

	"vvufwd/virtio/vring"
)

// badBuffer is a buffer that no driver may offer, in a ring that is in order. play
// writes it into an idle ring; w is the write flag of buffers that belong there, or zero.
type badBuffer struct {
	name     string
	play     func(r *ring, w uint16)
	onlySent bool // in a receive ring it would be a good one
}

var badBuffers = []badBuffer{
	{name: "only empty buffers", play: single(part(scratchGPA, 0), part(0x2000_0000, 0), part(scratchGPA, 0))},
	{name: "only empty buffers in a table", play: indirect(16, 0, part(scratchGPA, 0))},
	{name: "shorter than its header", play: single(part(scratchGPA, vnetHeader-1)), onlySent: true},
	{name: "wrong direction", play: func(r *ring, w uint16) { single(good)(r, w^vring.DescWrite) }},
	{name: "wrong direction in a table", play: func(r *ring, w uint16) { indirect(16, 0, good)(r, w^vring.DescWrite) }},
	{name: "both directions", play: func(r *ring, _ uint16) {
		r.set(0, link(good, 1, 0))
		r.set(1, desc{Addr: scratchGPA, Len: 2048, Flags: vring.DescWrite})
		r.offer(0)
	}},
}

// A buffer of which nothing can become comes back unused, and the ring goes on.
func TestBadBuffersComeBack(t *testing.T) {
	f := startForwarder(t, 4, "--log-level=debug")
	startVictim(t, f, 2, 3, gentle...)
	partner := join(t, f.sockets[1])
	defer partner.leave()
	for i, ring := range ringNames {
		for _, bad := range badBuffers {
			if bad.onlySent && i == receiveRing {
				continue
			}
			t.Run(ring+"/"+bad.name, func(t *testing.T) { offerBad(t, f, partner, i, bad) })
		}
	}
}

func offerBad(t *testing.T, f *forwarder, partner *guest, i int, bad badBuffer) {
	g := joinWith(t, f.sockets[0], defaultFeatures, i != receiveRing)
	defer g.leave()
	before := f.stats.port(g.path).Drops["bad_buffer"]
	r := g.rings[i]
	bad.play(r, [2]uint16{receiveRing: vring.DescWrite}[i])
	g.kick(i)
	frame := testFrame(99, 300)
	if i == receiveRing { // it is looked at when there is a frame for it
		if err := partner.send(frame); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the buffer comes back", func() bool { return r.usedIdx() == 1 })
	if id, n, _ := r.done(); id != 0 || n != 0 {
		t.Errorf("buffer %d came back with %d bytes, want 0 with none", id, n)
	}
	eventually(t, "it is counted", func() bool { return f.stats.port(g.path).Drops["bad_buffer"] == before+1 })
	if i == receiveRing {
		g.fill()
		g.kick(i)
		if _, err := g.awaitFrame(patience, isFrame(frame)); err != nil {
			t.Errorf("the frame that found the buffer bad: %v", err)
		}
	}
	exchange(t, g, partner)
	unbroken(t, f, g)
}
