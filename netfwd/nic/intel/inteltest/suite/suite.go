package suite

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel/inteltest"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
	virtiopci "vvufwd/virtio/pci"
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
		"frames pass": framesPass, "the general way": general, "long frames": longFrames, "tags": tags,
		"checksums in": checksumsIn, "checksums out": checksumsOut, "segments": segments, "software segments": softwareSegments, "slow": slow,
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

func checksumsIn(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	for a, valid := range map[inteltest.Arrival]bool{{}: false, {SumsRight: true}: true, {SumsWrong: true}: false} {
		r := Open(t, kind, d)
		r.Receive(0, numbered(1, 100), a)
		if got := receive(r.queue()); len(got) != 1 || got[0].valid != valid {
			t.Errorf("%+v: said to be valid: %v", a, !valid)
		}
	}
}

// checksumsOut has the chip complete checksums of all kinds of frames on the short way and on the general
// one, with a context where one is needed and without where the last will do.
func checksumsOut(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	shapes := packettest.Shapes(t, 500)
	for range 20 {
		for _, shape := range shapes {
			list := []packettest.Shape{shape, shape, shapes[0]}
			if n := unfinished(t, r.queue(), list); n != len(list) {
				t.Fatalf("%s: %d of %d are taken", shape.Name, n, len(list))
			}
			for i, sent := range r.sent() {
				if !bytes.Equal(sent, list[i].Frame) {
					t.Fatalf("%s: frame %d on the short way is not what a stack would send", shape.Name, i)
				}
			}
			send(r.queue(), nettest.Unfinished(t, shape, nettest.CsumHeader(shape)))
			if sent := r.sent(); len(sent) != 1 || !bytes.Equal(sent[0], shape.Frame) {
				t.Fatalf("%s: the general way differs", shape.Name)
			}
		}
	}
	if c := r.queue().Counters(); c.Offloaded != uint64(r.Summed) || c.Checksummed != 0 || r.Summed != 20*4*len(shapes) {
		t.Errorf("the chip has completed %d, counted are %+v", r.Summed, c)
	}
}

// segments has the chip cut segments of TCP.
func segments(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	cut := 0
	for _, shape := range packettest.Shapes(t, 30000) {
		if shape.Layout.Protocol != packet.TCP {
			continue
		}
		const size = 1448
		for range 3 {
			h := nettest.GSOHeader(shape, size)
			h.GSOType &^= virtionet.GSOECN // which no chip knows
			send(r.queue(), nettest.Unfinished(t, shape, h))
			cut++
			checkSegments(t, r.sent(), shape, size)
		}
	}
	if c := r.queue().Counters(); r.Cut != cut || c.Offloaded != uint64(cut) || c.Segmented != 0 {
		t.Errorf("%d large segments, of which the chip has cut %d: %+v", cut, r.Cut, c)
	}
}

func checkSegments(t *testing.T, sent [][]byte, shape packettest.Shape, size int) {
	t.Helper()
	var data []byte
	for i, s := range sent {
		if _, err := packettest.Verify(s); err != nil {
			t.Fatalf("%s: segment %d: %v", shape.Name, i, err)
		}
		if n := len(s) - int(shape.Layout.End); n > size || n < size && i < len(sent)-1 {
			t.Fatalf("%s: segment %d of %d has %d bytes", shape.Name, i, len(sent), n)
		}
		data = append(data, s[shape.Layout.End:]...)
	}
	if !bytes.Equal(data, shape.Payload()) {
		t.Fatalf("%s: %d segments have %d bytes together, not those of the payload", shape.Name, len(sent), len(data))
	}
}

// slow has a link of 100 Mb/s, at which the 82574 is not asked for segments.
func slow(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	r.SetSlow()
	if _, err := r.Card.Link(); err != nil {
		t.Fatal(err)
	}
	for _, shape := range packettest.Shapes(t, 30000) {
		if shape.Layout.Protocol != packet.TCP {
			continue
		}
		h := nettest.GSOHeader(shape, 1448)
		h.GSOType &^= virtionet.GSOECN
		send(r.queue(), nettest.Unfinished(t, shape, h))
		checkSegments(t, r.sent(), shape, 1448)
	}
	if cut := r.Cut > 0; cut != (kind != inteltest.I82574) {
		t.Errorf("the chip has cut %d frames", r.Cut)
	}
}

// softwareSegments are those that the chip is not asked for: of UDP, and so small ones that
// the chip's makers have not thought of them.
func softwareSegments(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	for _, shape := range packettest.Shapes(t, 5000) { // those of TCP have congestion bits
		size := 100
		if shape.Layout.Protocol == packet.UDP {
			size = 1400
		}
		f := nettest.Unfinished(t, shape, nettest.GSOHeader(shape, size))
		var sent [][]byte
		for b, done := nettest.BurstOf(f), 0; done == 0; { // the ring is too small for all at once
			done = r.queue().Transmit(b, 0, 1)
			r.queue().Notify()
			sent = append(sent, r.sent()...)
		}
		sent = append(sent, r.sent()...)
		checkSegments(t, sent, shape, size)
	}
	if r.Cut != 0 {
		t.Errorf("the chip was asked for %d", r.Cut)
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

func interrupts(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	q := r.queue()
	rx, tx := 1, 2
	r.Receive(0, numbered(1, 60), inteltest.Arrival{})
	if r.Fired(rx) {
		t.Error("an interrupt while polled")
	}
	if frames, _ := q.EnableKicks(false); !frames {
		t.Error("a frame that is there already is not found")
	}
	q.DisableKicks()
	receive(q)
	r.Fired(rx)
	for range 3 {
		if frames, _ := q.EnableKicks(false); frames || r.Fired(rx) {
			t.Error("woken for frames that were taken")
		}
		r.Receive(0, numbered(2, 60), inteltest.Arrival{})
		if !r.Fired(rx) || r.Fired(tx) {
			t.Error("no interrupt for a frame, or one for another ring")
		}
		q.DisableKicks()
		receive(q)
		if r.Receive(0, numbered(3, 60), inteltest.Arrival{}); r.Fired(rx) {
			t.Error("an interrupt while polled")
		}
		receive(q)
	}
	for send(q, nettest.Frame(numbered(1, 60))) == 1 {
	}
	if _, room := q.EnableKicks(true); room {
		t.Error("room in a full ring")
	}
	r.Transmit(0, 1000)
	if !r.Fired(tx) {
		t.Error("no interrupt for what was sent")
	}
	q.DisableKicks()
	q.InFlight()
	if _, room := q.EnableKicks(true); !room {
		t.Error("no room in an empty ring")
	}
	if len(q.WakeFDs()) != 2 || q.WakeFDs()[0] != r.Vector(rx) {
		t.Errorf("wakes at %v", q.WakeFDs())
	}
}

// link follows the cable.
func link(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	if up, err := r.Card.Link(); !up || err != nil {
		t.Fatalf("link up: %v, %v", up, err)
	}
	for _, r.Deaf = range []bool{false, true} { // with interrupts, and when they are lost
		ctx, cancel := context.WithCancel(t.Context())
		changes := make(chan bool, 10)
		done := make(chan error)
		go func() { done <- r.Card.Watch(ctx, func(up bool) { changes <- up }) }()
		for _, up := range []bool{false, true, false, true} {
			r.SetLink(up)
			if got := <-changes; got != up {
				t.Errorf("link up: %v, want %v", got, up)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

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

// gone is a card that was pulled out.
func gone(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	r.Gone = true
	if err := r.Card.Watch(t.Context(), func(bool) {}); !errors.Is(err, virtiopci.ErrAbsent) {
		t.Errorf("Watch: %v", err)
	}
	r.Card.Statistics()
	if err := r.Card.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	f := inteltest.NewFunction(t, kind)
	f.Gone = true
	if _, err := d.Open(f, Config(f)); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v", err)
	}
}

// closed is a card that was closed: it must not touch memory any more.
func closed(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	resets := r.Resets
	if err := r.Card.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Resets == resets {
		t.Error("the chip was not reset")
	}
	if r.Room(0) != 0 {
		t.Error("it still receives")
	}
	if kind != inteltest.I82576VF && r.Peek(0x18)&(1<<28) != 0 {
		t.Error("firmware thinks that there is a driver")
	}
	again, err := d.Open(r.Function, Config(r.Function))
	if err != nil {
		t.Fatalf("a second time: %v", err)
	}
	r.Card = again
	r.Receive(0, numbered(1, 60), inteltest.Arrival{})
	if got := receive(r.queue()); len(got) != 1 {
		t.Errorf("received %d after it was opened again", len(got))
	}
}

func fewVectors(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	f := inteltest.NewFunction(t, kind)
	f.Vectors = 0
	if _, err := d.Open(f, Config(f)); err == nil || !strings.Contains(err.Error(), "MSI-X") || !strings.Contains(err.Error(), "0000:00:04.0") {
		t.Errorf("without MSI-X: %v", err)
	}
}

// memory is scarce: what fails leaves the chip reset.
func memory(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	for n := 1; n <= 4; n++ {
		f := inteltest.NewFunction(t, kind)
		f.Memory().Fail = n
		if _, err := d.Open(f, Config(f)); err == nil {
			t.Errorf("allocation %d fails, and Open does not", n)
		}
		if f.Room(0) != 0 {
			t.Errorf("allocation %d fails, and the chip receives", n)
		}
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

// abandon and recover drop what is held and lose no buffer.
func abandon(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	q := r.queue()
	var b virtionet.Burst
	for range 10 * ringSize {
		for i := range 8 { // with a tag they are not plain
			r.Receive(0, numbered(i, 60), inteltest.Arrival{VLAN: 5})
		}
		if q.Receive(&b); b.Len() != 8 || b.Plain() {
			t.Fatalf("received %d, plain %v", b.Len(), b.Plain())
		}
		q.Release(&b, 0, 3)
		q.Recover()
		for i := range 8 {
			r.Receive(0, numbered(i, 60), inteltest.Arrival{})
		}
		q.Receive(&b)
		q.Release(&b, 0, 3)
		q.Recover()
		if q.Receive(&b); b.Len() != 5 || !b.Plain() { // they come again
			t.Fatalf("received %d, plain %v", b.Len(), b.Plain())
		}
		q.Release(&b, 0, 5)
	}
	if c := r.queue().Counters(); c.Drops[virtionet.DropStopped] != 10*ringSize*5 {
		t.Errorf("dropped %+v", c.Drops)
	}
}
