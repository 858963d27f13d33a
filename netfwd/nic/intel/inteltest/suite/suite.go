package suite

import (
	"bytes"
	"slices"
	"testing"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel/inteltest"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// Rig is an open card with its device side.
type Rig struct {
	*inteltest.Function
	Card nic.Card
}

// ringSize is that of the rings in tests.
const ringSize = 64

// Config is what cards are opened with here.
func Config(f *inteltest.Function) nic.Config {
	return nic.Config{Memory: f.Memory(), QueueSize: ringSize, MaxPairs: 4, Failed: func(error) {}}
}

// Open opens a card.
func Open(t *testing.T, kind inteltest.Kind, d nic.Driver) *Rig {
	t.Helper()
	f := inteltest.NewFunction(t, kind)
	return OpenFunction(t, f, d)
}

// OpenFunction opens the card of a function that the test has made.
func OpenFunction(t *testing.T, f *inteltest.Function, d nic.Driver) *Rig {
	t.Helper()
	card, err := d.Open(f, Config(f))
	if err != nil {
		t.Fatal(err)
	}
	return &Rig{f, card}
}

func (r *Rig) queue() nic.Queue { return r.Card.Queues()[0] }

// sent runs the chip and returns what is on the wire.
func (r *Rig) sent() [][]byte {
	r.Transmit(0, 1<<20)
	return r.Wire()
}

// Run tests a driver.
func Run(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	for name, test := range map[string]func(*testing.T, inteltest.Kind, nic.Driver){
		"frames pass": framesPass, "the general way": general, "short frames": shortFrames, "long frames": longFrames, "tags": tags,
		"checksums in": checksumsIn, "checksums out": checksumsOut, "checksums of two": checksumsOfTwo, "segments": segments, "software segments": softwareSegments, "slow": slow,
		"full": full, "interrupts": interrupts, "link": link, "lies": lies, "lies of sent": liesOfSent, "gone": gone,
		"close": closed, "few vectors": fewVectors, "memory": memory, "no allocation": noAllocation, "abandon": abandon,
	} {
		t.Run(name, func(t *testing.T) { test(t, kind, d) })
	}
}

// framesPass sends bursts of plain frames through two cards, several times around the rings.
func framesPass(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	a, b := Open(t, kind, d), Open(t, kind, d)
	if !a.Master {
		t.Error("no bus master")
	}
	number := 0
	for round := range 200 {
		var want [][]byte
		for range round % 40 {
			number++
			f := numbered(number, 60+number%1400)
			if !a.Receive(0, f, inteltest.Arrival{}) {
				t.Fatalf("round %d: no room for %d frames: %d descriptors", round, len(want), a.Room(0))
			}
			want = append(want, f)
		}
		moved := 0
		for n := 1; n > 0; moved += n {
			n = pass(a.queue(), b.queue())
		}
		got := b.sent()
		if moved != len(want) || len(got) != len(want) {
			t.Fatalf("round %d: %d frames moved and %d sent of %d", round, moved, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("round %d: frame %d is another", round, i)
			}
		}
	}
	if in, out := a.queue().Counters(), b.queue().Counters(); in.RxPackets != uint64(number) || out.TxPackets != in.RxPackets || out.TxBytes != in.RxBytes || in.Dropped()+out.Dropped() != 0 {
		t.Errorf("%d frames: counted %+v and %+v", number, in, out)
	}
	if pending, done := b.queue().InFlight(); pending != 0 || done != uint64(number) {
		t.Errorf("%d are in flight and %d done, of %d", pending, done, number)
	}
}

// general is the other way.
func general(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	for i := range 500 {
		want := numbered(i, 60+i)
		r.Receive(0, want, inteltest.Arrival{})
		got := receive(r.queue())
		if len(got) != 1 || !bytes.Equal(got[0].data, want) {
			t.Fatalf("frame %d: received %d", i, len(got))
		}
		if n := send(r.queue(), nettest.Frame(want[:20], want[20:])); n != 1 {
			t.Fatalf("frame %d is not sent", i)
		}
		if sent := r.sent(); len(sent) != 1 || !bytes.Equal(sent[0], want) {
			t.Fatalf("frame %d: sent %d", i, len(sent))
		}
	}
}

// shortFrames are padded so far that the chip can pad them, and not with what was sent before.
func shortFrames(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	a, b := Open(t, kind, d), Open(t, kind, d)
	for n := virtionet.MinFrame; n <= 20; n++ {
		want := slices.Concat(numbered(n, 60)[:n], make([]byte, max(0, 17-n)))
		for round := range ringSize { // five frames each, so that each buffer has one and another
			long := bytes.Repeat([]byte{0xee}, 60)
			for _, f := range [][]byte{long, want[:n]} {
				if a.Receive(0, f, inteltest.Arrival{}); pass(a.queue(), b.queue()) != 1 {
					t.Fatalf("%d bytes do not pass", len(f))
				}
			}
			send(b.queue(), nettest.Frame(long))
			send(b.queue(), nettest.Frame(want[:7], want[7:n]), nettest.Frame(long))
			if sent := b.sent(); len(sent) != 5 || !bytes.Equal(sent[1], want) || !bytes.Equal(sent[3], want) {
				t.Fatalf("round %d, %d bytes: sent %x", round, n, sent)
			}
		}
	}
}

// longFrames have up to 9018 bytes, in buffers of 2048, and no more.
func longFrames(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	for i, size := range []int{2047, 2048, 2049, 4096, 9018} {
		want := numbered(i, size)
		r.Receive(0, want, inteltest.Arrival{})
		r.Receive(0, numbered(99, 60), inteltest.Arrival{}) // in the same burst
		got := receive(r.queue())
		if len(got) != 2 || !bytes.Equal(got[0].data, want) || !bytes.Equal(got[1].data, numbered(99, 60)) {
			t.Fatalf("%d bytes: received %d", size, len(got))
		}
		send(r.queue(), nettest.Frame(want))
		if sent := r.sent(); len(sent) != 1 || !bytes.Equal(sent[0], want) {
			t.Fatalf("%d bytes: sent %d", size, len(sent))
		}
	}
	if n := send(r.queue(), nettest.Frame(numbered(1, 9019))); n != 1 || len(r.sent()) != 0 || r.queue().Counters().Drops[virtionet.DropTooLong] != 1 {
		t.Errorf("a frame of 9019 bytes is not dropped: %+v", r.queue().Counters())
	}
}

// tags that the chip has taken out are put back.
func tags(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	for i, size := range []int{60, 2048, 5000} {
		f := numbered(i, size)
		r.Receive(0, f, inteltest.Arrival{VLAN: 0x2005})
		want := append(append(append([]byte{}, f[:12]...), 0x81, 0, 0x20, 0x05), f[12:]...)
		if got := receive(r.queue()); len(got) != 1 || !bytes.Equal(got[0].data, want) {
			t.Errorf("%d bytes: the tag is not back in the frame", size)
		}
	}
}

// full is a ring that the chip does not serve: frames wait, and go when it does.
func full(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	taken := 0
	for send(r.queue(), nettest.Frame(numbered(taken, 60))) == 1 {
		taken++
	}
	if taken != ringSize-1 {
		t.Errorf("a ring of %d takes %d frames", ringSize, taken)
	}
	if pending, _ := r.queue().InFlight(); pending != taken {
		t.Errorf("%d are in flight of %d", pending, taken)
	}
	r.Transmit(0, 10)
	for send(r.queue(), nettest.Frame(numbered(taken, 60))) == 1 {
		taken++
	}
	r.Transmit(0, 1000)
	for i, f := range r.Wire() {
		if !bytes.Equal(f, numbered(i, 60)) {
			t.Fatalf("frame %d is another", i)
		}
	}
	if pending, done := r.queue().InFlight(); pending != 0 || done != uint64(taken) || taken < ringSize {
		t.Errorf("%d in flight, %d done of %d", pending, done, taken)
	}
	large := packettest.Shapes(t, 60000)[0] // with all others out, there is room
	h := nettest.GSOHeader(large, 1448)
	h.GSOType &^= virtionet.GSOECN
	if n := send(r.queue(), nettest.Unfinished(t, large, h)); n != 1 {
		t.Error("a frame of 60000 bytes does not fit into an empty ring")
	}
}

func noAllocation(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	q := r.queue()
	f, out := numbered(1, 600), nettest.BurstOf(nettest.Frame(numbered(1, 600)))
	var b virtionet.Burst
	if n := testing.AllocsPerRun(20*ringSize, func() {
		r.Receive(0, f, inteltest.Arrival{})
		pass(q, q)
		r.Receive(0, f, inteltest.Arrival{})
		q.Receive(&b)
		q.Release(&b, 0, b.Len())
		q.Transmit(out, 0, 1)
		for i := range uint32(ringSize) {
			r.Descriptor(true, 0, i)[12] |= 1 // sent
		}
		q.EnableKicks(true)
		q.DisableKicks()
	}); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
	if c := q.Counters(); c.TxPackets < 2*20*ringSize || c.Plain < 20*ringSize {
		t.Errorf("the rounds moved nothing: %+v", c)
	}
}
