package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// bell counts how often it is rung.
type bell int

func (b *bell) Ring() { *b++ }

// guestRig is a Port whose driver side is played by the test.
type guestRig struct {
	*Port
	rx, tx         *vringtest.Pair // the guest's receive and transmit rings
	rxBell, txBell bell
	failures       []string

	txPlaces []mem.GPA // see sendSomething
	txSent   int
}

func newGuestRig(t vringtest.TB, cfg vringtest.Config, q Queues) *guestRig {
	t.Helper()
	cfg.Packed = packedRings
	r := &guestRig{rx: vringtest.NewPair(t, cfg), tx: vringtest.NewPair(t, cfg)}
	r.Port = New("guest", func(ring string, err error) { r.failures = append(r.failures, fmt.Sprintf("%s: %v", ring, err)) })
	q.ToGuest, q.FromGuest = r.rx.Device, r.tx.Device
	q.ToGuestCall, q.FromGuestCall = &r.rxBell, &r.txBell
	if q.HeaderLen == 0 {
		q.HeaderLen = virtionet.HeaderLen
	}
	r.install(&q)
	return r
}

// install hands over queues with this goroutine as the forwarder.
func (r *guestRig) install(q *Queues) {
	done := make(chan struct{})
	go func() { r.Install(q); close(done) }()
	for !r.Changed() {
	}
	r.Sync()
	<-done
}

// packedRings makes the rigs use packed rings, see TestOnPackedRings.
var packedRings bool

var running = Queues{ToGuestEnabled: true, FromGuestEnabled: true, Mergeable: true}

// send offers one frame in the guest's transmit ring, cut into parts of the
// given sizes (the last takes the rest).
func (r *guestRig) send(t *testing.T, frame []byte, sizes ...int) {
	t.Helper()
	r.transmit(t, frame, sizes...)
}

// transmit is send, and returns the chain's head.
func (r *guestRig) transmit(t *testing.T, frame []byte, sizes ...int) (head uint16) {
	t.Helper()
	return r.transmitWith(t, virtionet.Header{}, frame, sizes...)
}

// completed takes what came back to the guest's transmit ring.
func (r *guestRig) completed() (heads []uint16) {
	r.tx.Driver.Completed()
	for u := (vring.Used{}); r.tx.Driver.Take(&u); {
		heads = append(heads, u.Head)
	}
	return heads
}

func TestGuestSendsFramesInEveryLayout(t *testing.T) {
	for _, cfg := range []vringtest.Config{{}, {EventIdx: true}, {Indirect: true, EventIdx: true}} {
		for _, sizes := range [][]int{nil, {12}, {5, 7}, {1, 2, 3, 4, 5, 6, 7}, {12, 14}, {13}, {11, 1, 64}} {
			r := newGuestRig(t, cfg, running)
			want := nettest.Payload(1514, len(sizes))
			r.send(t, want, sizes...)
			var frames [4]virtionet.Frame
			if n := r.rxFrames(frames[:]); n != 1 {
				t.Fatalf("%v: %d frames, want 1 (%v)", sizes, n, r.failures)
			}
			if got := vringtest.Join(frames[0].Data); !bytes.Equal(got, want) || frames[0].Len != len(want) {
				t.Errorf("%v: frame differs (%d bytes, Len %d)", sizes, len(got), frames[0].Len)
			}
			if n := r.tx.Driver.Completed(); n != 0 {
				t.Errorf("%v: completed before release", sizes)
			}
			r.release(1)
			if n := r.tx.Driver.Completed(); n != 1 {
				t.Errorf("%v: %d completed after release", sizes, n)
			}
			if c := r.Counters(); c.RxPackets != 1 || c.RxBytes != 1514 {
				t.Errorf("%v: counted %+v", sizes, c)
			}
			if r.Notify(); r.txBell != 1 {
				t.Errorf("%v: transmit bell rung %d times, want 1", sizes, r.txBell)
			}
		}
	}
}

func TestGuestSendsLegacyHeader(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{}, Queues{FromGuestEnabled: true, HeaderLen: virtionet.LegacyHeaderLen})
	want := nettest.Payload(60, 1)
	r.send(t, want, virtionet.LegacyHeaderLen)
	var frames [1]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 1 || !bytes.Equal(vringtest.Join(frames[0].Data), want) {
		t.Fatalf("got %d frames, %v", n, frames[0].Data)
	}
}

func TestGuestSendsWhatIsDropped(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{HeapBytes: 4 << 20}, running)
	r.send(t, nettest.Payload(13, 0)) // runt
	r.send(t, nettest.Payload(60, 1))
	r.send(t, nettest.Payload(virtionet.MaxFrame+1, 2))
	r.send(t, nettest.Payload(0, 3)) // a header and nothing else
	r.send(t, nettest.Payload(virtionet.MaxFrame, 4))
	var frames [8]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 2 || frames[0].Len != 60 || frames[1].Len != virtionet.MaxFrame {
		t.Fatalf("%d frames, want the two good ones", n)
	}
	r.release(2)
	if n := r.tx.Driver.Completed(); n != 5 {
		t.Errorf("%d buffers came back, want all 5", n)
	}
	c := r.Counters()
	if c.Drops[virtionet.DropRunt] != 2 || c.Drops[virtionet.DropTooLong] != 1 {
		t.Errorf("drops %v", c.Drops)
	}
}

func TestDisabledGuestRingsAreConsumedAndStarved(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{}, Queues{Mergeable: true})
	r.send(t, nettest.Payload(60, 0))
	var frames [2]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 0 {
		t.Errorf("%d frames from a disabled ring", n)
	}
	if n := r.tx.Driver.Completed(); n != 1 {
		t.Error("the disabled transmit ring was not consumed")
	}
	r.offer(t, 2048)
	if n := r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(60, 1))}); n != 1 {
		t.Error("a frame for a disabled ring must be dropped, not held")
	}
	if n := r.rx.Driver.Completed(); n != 0 {
		t.Error("the disabled receive ring got a frame")
	}
	if c := r.Counters(); c.Drops[virtionet.DropNoPeer] != 2 {
		t.Errorf("drops %v", c.Drops)
	}
}

// receiveBuffer is a receive buffer of the guest.
type receiveBuffer struct {
	addr mem.GPA
	size int
}

func (r *guestRig) offer(t *testing.T, sizes ...int) receiveBuffer {
	t.Helper()
	total := 0
	var parts []vring.Part
	var first mem.GPA
	for i, n := range sizes {
		addr, b := r.rx.Alloc(n)
		for k := range b {
			b[k] = 0xee
		}
		if i == 0 {
			first = addr
		}
		total += n
		parts = append(parts, vringtest.Part(addr, n))
	}
	if _, err := r.rx.Driver.Add(nil, parts); err != nil {
		t.Fatal(err)
	}
	r.rx.Driver.Publish()
	return receiveBuffer{first, total}
}

// received takes completed receive buffers as the guest does, and returns what
// they hold, header included, and their used lengths.
func (r *guestRig) received(buffers map[uint16]receiveBuffer) (data [][]byte, lens []uint32) {
	r.rx.Driver.Completed()
	var u vring.Used
	for r.rx.Driver.Take(&u) {
		b := buffers[u.Head]
		data = append(data, r.rx.Read(b.addr, int(u.Len)))
		lens = append(lens, u.Len)
	}
	return data, lens
}

func TestFramesReachGuestInOneBuffer(t *testing.T) {
	for _, mergeable := range []bool{true, false} {
		q := running
		q.Mergeable = mergeable
		for _, layout := range [][]int{{2048}, {12, 2036}, {10, 2, 100, 2000}} {
			r := newGuestRig(t, vringtest.Config{EventIdx: true}, q)
			head := r.rx.Driver.NextHead()
			r.offer(t, layout...)
			want := nettest.Payload(1000, 3)
			f := nettest.Frame(want[:100], want[100:100], want[100:])
			if n := r.txFrames([]virtionet.Frame{f}); n != 1 {
				t.Fatalf("%v: %d sent", layout, n)
			}
			r.rx.Driver.Completed()
			var u vring.Used
			if !r.rx.Driver.Take(&u) || u.Len != 1012 {
				t.Fatalf("%v: used length %d, want 1012", layout, u.Len)
			}
			got := r.scattered(t, head, layout, 1012)
			if !bytes.Equal(got[12:], want) {
				t.Errorf("%v: frame differs", layout)
			}
			if num := binary.LittleEndian.Uint16(got[10:]); num != 1 {
				t.Errorf("%v: num_buffers %d, want 1 (also without MRG_RXBUF)", layout, num)
			}
			if r.Notify(); r.rxBell != 1 {
				t.Errorf("%v: bell rung %d times", layout, r.rxBell)
			}
		}
	}
}

// scattered reads n bytes from a chain of buffers, following the table.
func (r *guestRig) scattered(t *testing.T, head uint16, layout []int, n int) []byte {
	t.Helper()
	var out []byte
	i := head
	for _, size := range layout {
		d := vringtest.Desc(r.rx.Raw.Table, int(i))
		k := min(size, n-len(out))
		out = append(out, r.rx.Read(mem.GPA(d.Addr), k)...)
		i = d.Next
	}
	return out
}

func TestMergeableFrameSpansBuffers(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{EventIdx: true}, running)
	buffers := map[uint16]receiveBuffer{}
	for range 4 {
		head := r.rx.Driver.NextHead()
		buffers[head] = r.offer(t, 500)
	}
	want := nettest.Payload(1400, 9)
	if n := r.txFrames([]virtionet.Frame{nettest.Frame(want)}); n != 1 {
		t.Fatalf("%d sent", n)
	}
	data, lens := r.received(buffers)
	if fmt.Sprint(lens) != "[500 500 412]" {
		t.Fatalf("used lengths %v: every buffer but the last must be full", lens)
	}
	all := bytes.Join(data, nil)
	if binary.LittleEndian.Uint16(all[10:]) != 3 || !bytes.Equal(all[12:], want) {
		t.Errorf("num_buffers %d, or frame differs", binary.LittleEndian.Uint16(all[10:]))
	}
	r.Notify()
	r.Notify() // nothing is new
	if r.rxBell != 1 {
		t.Errorf("bell rung %d times for one frame", r.rxBell)
	}
}

func TestFrameWaitsForRoomAndConsumesNothing(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{EventIdx: true}, running)
	buffers := map[uint16]receiveBuffer{}
	add := func(n int) { head := r.rx.Driver.NextHead(); buffers[head] = r.offer(t, n) }
	add(500)
	add(500)
	f := []virtionet.Frame{nettest.Frame(nettest.Payload(1400, 1))}
	if n := r.txFrames(f); n != 0 {
		t.Fatal("a frame was sent into too few buffers")
	}
	if n := r.rx.Driver.Completed(); n != 0 || r.rxBell != 0 {
		t.Fatal("buffers were consumed")
	}
	if frames, room := r.EnableKicks(true); frames || room {
		t.Fatal("nothing new, but the forwarder is told not to sleep")
	}
	add(500)
	if !r.rx.Driver.NeedKick() {
		t.Error("the guest would not tell that it offers more room")
	}
	if n := r.txFrames(f); n != 1 {
		t.Fatal("the frame still waits")
	}
	if data, _ := r.received(buffers); !bytes.Equal(bytes.Join(data, nil)[12:], nettest.Payload(1400, 1)) {
		t.Error("frame differs")
	}
}

func TestFrameThatNeverFitsIsDropped(t *testing.T) {
	q := running
	q.Mergeable = false
	r := newGuestRig(t, vringtest.Config{}, q)
	head := r.rx.Driver.NextHead()
	b := map[uint16]receiveBuffer{head: r.offer(t, 200)}
	n := r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(1000, 1)), nettest.Frame(nettest.Payload(100, 2))})
	if n != 2 || r.Counters().Drops[virtionet.DropNoBuffer] != 1 {
		t.Fatalf("%d done, drops %v", n, r.Counters().Drops)
	}
	if data, _ := r.received(b); len(data) != 1 || !bytes.Equal(data[0][12:], nettest.Payload(100, 2)) {
		t.Error("the buffer was not left for the shorter frame")
	}

	// With MRG_RXBUF: a ring full of buffers that are too little together.
	r = newGuestRig(t, vringtest.Config{Size: 4}, running)
	for range 4 {
		r.offer(t, 20)
	}
	if n := r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(1000, 1))}); n != 1 || r.Counters().Drops[virtionet.DropNoBuffer] != 1 {
		t.Errorf("%d done, drops %v: the frame would wait for ever", n, r.Counters().Drops)
	}
}

// Buffers of which nothing can become come back unused, in their place in the ring, and
// the ring goes on.
func TestBadBuffersComeBack(t *testing.T) {
	for name, offer := range map[string]func(r *guestRig) error{
		"writable": func(r *guestRig) error {
			addr, _ := r.tx.Alloc(100)
			_, err := r.tx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, 100)})
			return err
		},
		"writable in part": func(r *guestRig) error {
			addr, _ := r.tx.Alloc(200)
			_, err := r.tx.Driver.Add([]vring.Part{vringtest.Part(addr, 100)}, []vring.Part{vringtest.Part(addr+100, 100)})
			return err
		},
		"header cut short": func(r *guestRig) error {
			addr, _ := r.tx.Alloc(11)
			_, err := r.tx.Driver.Add([]vring.Part{vringtest.Part(addr, 11)}, nil)
			return err
		},
	} {
		t.Run("transmit/"+name, func(t *testing.T) {
			r := newGuestRig(t, vringtest.Config{Size: 16}, running)
			first := r.transmit(t, nettest.Payload(60, 1))
			if err := offer(r); err != nil {
				t.Fatal(err)
			}
			last := r.transmit(t, nettest.Payload(60, 2))
			var frames [4]virtionet.Frame
			if n := r.rxFrames(frames[:]); n != 2 || !bytes.Equal(flat(frames[1].Data), nettest.Payload(60, 2)) {
				t.Fatalf("%d frames, want the two good ones: %v", n, r.failures)
			}
			r.release(2)
			if got := r.completed(); len(got) != 3 || got[0] != first || got[2] != last {
				t.Errorf("came back: %v, want all three in order", got)
			}
			if c := r.Counters(); c.Drops[virtionet.DropBadBuffer] != 1 || c.Dropped() != 1 || len(r.failures) != 0 {
				t.Errorf("drops %v, failures %v", c.Drops, r.failures)
			}
		})
	}
	for name, offer := range map[string]func(r *guestRig) error{
		"readable": func(r *guestRig) error {
			addr, _ := r.rx.Alloc(100)
			_, err := r.rx.Driver.Add([]vring.Part{vringtest.Part(addr, 100)}, nil)
			return err
		},
		"readable in part": func(r *guestRig) error {
			addr, _ := r.rx.Alloc(2100)
			_, err := r.rx.Driver.Add([]vring.Part{vringtest.Part(addr, 100)}, []vring.Part{vringtest.Part(addr+100, 2000)})
			return err
		},
		"empty": func(r *guestRig) error {
			_, err := r.rx.Driver.Add(nil, []vring.Part{{Addr: 1 << 32}})
			return err
		},
	} {
		t.Run("receive/"+name, func(t *testing.T) {
			r := newGuestRig(t, vringtest.Config{Size: 16}, running)
			buffers := map[uint16]receiveBuffer{}
			add := func(n int) {
				head := r.rx.Driver.NextHead()
				buffers[head] = r.offer(t, n)
			}
			add(200) // too short for the frame alone, and before a bad one: it comes back empty
			if err := offer(r); err != nil {
				t.Fatal(err)
			}
			r.rx.Driver.Publish()
			sent := []virtionet.Frame{nettest.Frame(nettest.Payload(1000, 1)), nettest.Frame(nettest.Payload(60, 2))}
			if n := r.txFrames(sent); n != 0 {
				t.Fatalf("%d frames sent into no room: %v", n, r.failures)
			}
			add(2048)
			add(2048)
			if n := r.txFrames(sent); n != 2 {
				t.Fatalf("%d frames sent, want 2: %v", n, r.failures)
			}
			var lens []uint32
			r.rx.Driver.Completed()
			for u := (vring.Used{}); r.rx.Driver.Take(&u); {
				lens = append(lens, u.Len)
			}
			if !slices.Equal(lens, []uint32{0, 0, 1012, 72}) {
				t.Errorf("came back with %v bytes, want 0 0 1012 72", lens)
			}
			if c := r.Counters(); c.Drops[virtionet.DropBadBuffer] != 1 || c.Dropped() != 1 || len(r.failures) != 0 {
				t.Errorf("drops %v, failures %v", c.Drops, r.failures)
			}
		})
	}
}

// TestBellFollowsUsedEvent is the regression test for the mistake that made the
// 2021 demo one-way: with EVENT_IDX the guest must be interrupted each time that
// used.idx passes used_event, again and again.
func TestBellFollowsUsedEvent(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{EventIdx: true, Size: 16}, running)
	buffers := map[uint16]receiveBuffer{}
	for round := range 200 {
		head := r.rx.Driver.NextHead()
		if round < 16 {
			addr, _ := r.rx.Alloc(128)
			buffers[head] = receiveBuffer{addr, 128}
		}
		r.rx.Driver.Add(nil, []vring.Part{vringtest.Part(buffers[head].addr, 128)})
		r.rx.Driver.Publish()
		r.rx.Driver.EnableInterrupts() // the guest's NAPI has run dry and sleeps
		before := r.rxBell
		if n := r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(60, round))}); n != 1 {
			t.Fatalf("round %d: not sent", round)
		}
		if r.Notify(); r.rxBell != before+1 {
			t.Fatalf("round %d: the guest sleeps and was not interrupted", round)
		}
		// Not armed again: further frames must not interrupt.
		data, _ := r.received(buffers)
		if len(data) != 1 || !bytes.Equal(data[0][12:], nettest.Payload(60, round)) {
			t.Fatalf("round %d: wrong data", round)
		}
	}
}

func TestInstallWaitsForTheForwarder(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{}, running)
	first := r.tx.Device.NextAvail()
	r.send(t, nettest.Payload(60, 0))
	var frames [1]virtionet.Frame
	r.rxFrames(frames[:]) // a frame is held
	installed := make(chan struct{})
	go func() { r.Install(nil); close(installed) }()
	for !r.Changed() {
	}
	select {
	case <-installed:
		t.Fatal("Install returned while the forwarder still had the rings")
	default:
	}
	r.Sync()
	<-installed
	if n := r.tx.Driver.Completed(); n != 0 || r.tx.Device.NextAvail() != first || r.Counters().Dropped() != 0 {
		t.Errorf("the held frame is not in the ring: %d completed, counted %+v", n, r.Counters())
	}
	if n := r.rxFrames(frames[:]); n != 0 {
		t.Error("frames from a stopped ring")
	}
	r.Leave()
	r.Install(nil) // no one forwards: must not wait
}

// Frames that go back to their ring are counted once, and those of a ring that fails are not: they are counted
// when their buffers go back to the guest, and so is what was no frame.
func TestFramesAreCountedOnce(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{Size: 16}, running)
	var frames [8]virtionet.Frame
	for i := range 5 {
		r.send(t, nettest.Payload(100+i, i))
		r.send(t, nettest.Payload(13, i))
	}
	count := func(what string, packets, bytes, runts uint64) {
		t.Helper()
		if c := r.Counters(); c.RxPackets != packets || c.RxBytes != bytes || c.Drops[virtionet.DropRunt] != runts || c.Dropped() != runts {
			t.Errorf("%s: counted %d frames, %d bytes, drops %v, want %d, %d and %d runts", what, c.RxPackets, c.RxBytes, c.Drops, packets, bytes, runts)
		}
	}
	take := func(most, want int) {
		t.Helper()
		if n := r.rxFrames(frames[:most]); n != want {
			t.Fatalf("%d frames, want %d", n, want)
		}
	}
	take(6, 3) // and as many runts
	r.release(1)
	count("one of three", 1, 100, 0)
	again := *r.cur
	r.install(&again) // two go back
	count("taken back", 1, 100, 1)
	take(8, 4)
	r.release(4)
	count("all", 5, 510, 5)
	if n := len(r.completed()); n != 10 {
		t.Errorf("%d buffers came back", n)
	}
	fresh := newGuestRig(t, vringtest.Config{Size: 16}, running)
	r.install(&Queues{HeaderLen: virtionet.HeaderLen})
	r.tx = fresh.tx
	r.send(t, nettest.Payload(200, 1))
	r.send(t, nettest.Payload(300, 1))
	q := again
	q.FromGuest = r.tx.Device
	r.install(&q)
	take(8, 2)
	r.release(1)
	count("with a new ring", 6, 710, 5)
	r.Fail(errors.New("its memory vanished"))
	count("failed", 6, 710, 5)
}

func TestGuestBurstsDoNotAllocate(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{EventIdx: true, Indirect: true}, running)
	data := nettest.Payload(1000, 0)
	addr, _ := r.tx.Alloc(1012)
	rxAddr, _ := r.rx.Alloc(2048)
	out := []virtionet.Frame{nettest.Frame(data)}
	readable, writable := []vring.Part{vringtest.Part(addr, 12), vringtest.Part(addr+12, 1000)}, []vring.Part{vringtest.Part(rxAddr, 2048)}
	var frames [8]virtionet.Frame
	var u vring.Used
	allocs := testing.AllocsPerRun(1000, func() {
		r.tx.Driver.Add(readable, nil)
		r.tx.Driver.Publish()
		r.release(r.rxFrames(frames[:]))
		r.tx.Driver.Completed()
		r.tx.Driver.Take(&u)
		r.rx.Driver.Add(nil, writable)
		r.rx.Driver.Publish()
		r.txFrames(out)
		r.rx.Driver.Completed()
		r.rx.Driver.Take(&u)
		r.Notify()
	})
	if allocs != 0 {
		t.Errorf("%v allocations per round", allocs)
	}
	if c := r.Counters(); c.RxPackets < 1000 || c.TxPackets < 1000 {
		t.Errorf("the rounds moved nothing: %+v", c)
	}
}
