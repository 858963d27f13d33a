package suite

import (
	"bytes"
	"testing"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel/inteltest"
	"vvufwd/virtio/net/nettest"
)

// lies are descriptors that no frame has: whatever they say, nothing outside the buffers is read, and what comes
// after arrives.
func lies(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	const done, end = 1, 2
	for name, words := range map[string][]uint64{
		"too long for a buffer":  {done | end | 2049<<32},
		"as long as can be said": {done | end | 0xffff<<32},
		"nothing":                {done | end},
		"a runt":                 {done | end | 13<<32},
		"an error":               {done | end | 1<<24 | 60<<32},
		"never an end":           {done | 2048<<32, done | 2048<<32, done | 2048<<32, done | 2048<<32, done | 2048<<32, done | 2048<<32, done | 2048<<32, done | end | 60<<32},
		"parts not full":         {done | 100<<32, done | end | 100<<32},
		"too long":               {done | 2048<<32, done | 2048<<32, done | 2048<<32, done | 2048<<32, done | end | 2048<<32},
		"all bits":               {^uint64(0)},
	} {
		t.Run(name, func(t *testing.T) {
			r := Open(t, kind, d)
			for range 3 * ringSize { // around the ring
				for _, w := range words {
					r.WriteBack(0, []byte("no frame"), w)
				}
				want := numbered(7, 60)
				if !r.Receive(0, want, inteltest.Arrival{}) {
					t.Fatal("buffers were lost")
				}
				got := receive(r.queue())
				if len(got) != 1 || !bytes.Equal(got[0].data, want) {
					t.Fatalf("received %d frames, want the one after", len(got))
				}
			}
			if c := r.queue().Counters(); c.Dropped() != 3*ringSize || c.Plain != 0 {
				t.Errorf("dropped %d: %+v", c.Dropped(), c.Drops)
			}
		})
	}
	t.Run("all done at once", func(t *testing.T) {
		r := Open(t, kind, d)
		for i := range uint32(ringSize) { // the one that it was not given, too
			copy(r.Descriptor(false, 0, i)[8:], []byte{done | end, 0, 0, 0, 60, 0, 0, 0})
		}
		if got := receive(r.queue()); len(got) > 2*ringSize {
			t.Errorf("%d frames out of a ring of %d", len(got), ringSize)
		}
	})
}

// liesOfSent are completions of what was not given, or long ago.
func liesOfSent(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	for i := range uint32(ringSize) {
		copy(r.Descriptor(true, 0, i)[8:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	}
	if pending, done := r.queue().InFlight(); pending != 0 || done != 0 {
		t.Errorf("%d in flight and %d done, of nothing", pending, done)
	}
	sent := 0
	for send(r.queue(), nettest.Frame(numbered(sent, 60))) == 1 {
		sent++
		for i := range uint32(ringSize) {
			r.Descriptor(true, 0, i)[12] |= 1 // done
		}
		if sent > 10*ringSize {
			break // they are taken at its word: it is its own frames that it loses
		}
		if pending, done := r.queue().InFlight(); pending != 0 || done != uint64(sent) {
			t.Fatalf("%d in flight, %d done of %d", pending, done, sent)
		}
	}
}
