package driver

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unsafe"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// heapMemory plays the allocator: memory at addresses that only the fake
// device understands.
type heapMemory struct{ regions []mem.Region }

func (h *heapMemory) Alloc(size, align int) (Memory, error) {
	words := make([]uint64, (size+7)/8+align/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (align - 1)
	b = b[skip : skip+size]
	iova := 0x1_0000_0000 * uint64(len(h.regions)+1)
	h.regions = append(h.regions, mem.Region{GPA: mem.GPA(iova), Mem: b})
	return Memory{Bytes: b, Addr: iova}, nil
}

type notifier int

func (n *notifier) Notify() { *n++ }

// packedRings makes the rigs use packed rings, see TestOnPackedRings.
var packedRings bool

// nicRig is a Port whose device is played by the test.
type nicRig struct {
	*Port
	memory           *heapMemory
	devRx, devTx     *vring.Device
	rxKicks, txKicks notifier
	failures         []string
}

const rigFeatures = virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx

func newNICRig(t vringtest.TB, features virtio.Features, size, mtu int) *nicRig {
	t.Helper()
	r := &nicRig{}
	first := uint16(0)
	if packedRings {
		features |= virtio.RingPacked
		first = vring.FirstSlot
	}
	memory := &heapMemory{}
	nic, err := New(Config{Name: "nic", Features: features, MTU: mtu, RxSize: size, TxSize: size,
		OnFail: func(ring string, err error) { r.failures = append(r.failures, ring+": "+err.Error()) }}, memory)
	if err != nil {
		t.Fatalf("newNIC: %v", err)
	}
	r.Port, r.memory = nic, memory
	table, err := mem.New(memory.regions)
	if err != nil {
		t.Fatalf("mem: %v", err)
	}
	device := func(q *vring.Driver) *vring.Device {
		desc, avail, used := q.Addresses()
		d, err := vring.NewDevice(vring.DeviceConfig{Size: size, Mem: table, Desc: mem.GPA(desc), Avail: mem.GPA(avail), Used: mem.GPA(used),
			Packed: packedRings, EventIdx: features.Has(virtio.EventIdx), NextAvail: first})
		if err != nil {
			t.Fatalf("device side: %v", err)
		}
		return d
	}
	r.devRx, r.devTx = device(nic.rx), device(nic.tx)
	nic.Start(&r.rxKicks, &r.txKicks)
	return r
}

// rxRing and txRing are the bytes of the rings.
func (r *nicRig) rxRing() []byte { return r.memory.regions[0].Mem }
func (r *nicRig) txRing() []byte { return r.memory.regions[2].Mem }

// arrive makes the device write raw (header and frame) into receive buffers, the
// pieces into one buffer each, and publish them together.
func (r *nicRig) arrive(t *testing.T, pieces ...[]byte) {
	t.Helper()
	r.devRx.Available()
	for _, p := range pieces {
		var c vring.Chain
		if !r.devRx.Pop(&c) {
			t.Fatalf("no receive buffer for the device: %v", r.devRx.Err())
		}
		if int(c.WriteLen) < len(p) {
			t.Fatalf("receive buffer of %d bytes for %d", c.WriteLen, len(p))
		}
		copy(c.Write[0], p)
		r.devRx.Push(c.Head, uint32(len(p)))
	}
	r.devRx.Publish()
}

// withHeader puts a header that announces num buffers before a frame.
func withHeader(num int, frame []byte) []byte {
	var raw [virtionet.HeaderLen]byte
	h := virtionet.Header{NumBuffers: uint16(num)}
	h.Put(&raw)
	return append(raw[:], frame...)
}

func TestNICReceives(t *testing.T) {
	r := newNICRig(t, rigFeatures, 8, 0)
	if r.rxKicks != 1 {
		t.Errorf("%d kicks for the first receive buffers, want 1", r.rxKicks)
	}
	for round := range 100 { // goes round the ring and through every buffer
		a, b := nettest.Payload(60+round, round), nettest.Payload(1514, round+1)
		r.arrive(t, withHeader(1, a))
		r.arrive(t, withHeader(1, b))
		var frames [8]virtionet.Frame
		if n := r.rxFrames(frames[:]); n != 2 {
			t.Fatalf("round %d: %d frames (%v)", round, n, r.failures)
		}
		if !bytes.Equal(vringtest.Join(frames[0].Data), a) || !bytes.Equal(vringtest.Join(frames[1].Data), b) {
			t.Fatalf("round %d: frames differ", round)
		}
		r.release(2)
	}
	if c := r.Counters(); c.RxPackets != 200 {
		t.Errorf("counted %d", c.RxPackets)
	}
}

// A held frame must stay what it is while buffers of released ones are in the
// device's hands again.
func TestNICHeldFramesSurviveRefill(t *testing.T) {
	r := newNICRig(t, rigFeatures, 4, 0)
	for i := range 3 {
		r.arrive(t, withHeader(1, nettest.Payload(100, i)))
	}
	var frames [4]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 3 {
		t.Fatalf("%d frames", n)
	}
	r.release(1)
	r.arrive(t, withHeader(1, nettest.Payload(100, 77))) // the untouched buffer
	r.arrive(t, withHeader(1, nettest.Payload(100, 78))) // the one that was just released
	for i := 1; i < 3; i++ {
		if !bytes.Equal(vringtest.Join(frames[i].Data), nettest.Payload(100, i)) {
			t.Fatalf("held frame %d was overwritten", i)
		}
	}
	r.release(2)
	if n := r.rxFrames(frames[:]); n != 2 || !bytes.Equal(vringtest.Join(frames[1].Data), nettest.Payload(100, 78)) {
		t.Errorf("%d frames after release", n)
	}
	r.release(2)
	r.devRx.Available()
	if n := r.devRx.Pending(); n != 4 {
		t.Errorf("the device holds %d receive buffers, want all 4", n)
	}
}

func TestNICReceivesMergedBuffers(t *testing.T) {
	r := newNICRig(t, rigFeatures, 8, 0)
	want := nettest.Payload(3000, 5)
	raw := withHeader(3, want)
	r.arrive(t, raw[:1500], raw[1500:2500], raw[2500:])
	r.arrive(t, withHeader(2, nil), nettest.Payload(60, 6)) // a buffer with nothing but the header
	var frames [8]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 2 {
		t.Fatalf("%d frames, drops %v", n, r.Counters().Drops)
	}
	if !bytes.Equal(vringtest.Join(frames[0].Data), want) || frames[0].Len != 3000 {
		t.Error("merged frame differs")
	}
	if !bytes.Equal(vringtest.Join(frames[1].Data), nettest.Payload(60, 6)) || frames[1].Len != 60 {
		t.Errorf("frame after a bare header differs: %d bytes", frames[1].Len)
	}
	r.release(2)
	if r.devRx.Available(); r.devRx.Pending() != 8 {
		t.Errorf("the device holds %d receive buffers, want all 8", r.devRx.Pending())
	}
}

func TestNICDropsBrokenFramesAndKeepsTheirBuffers(t *testing.T) {
	r := newNICRig(t, rigFeatures, 8, 0)
	r.arrive(t, make([]byte, 11))                        // shorter than the header
	r.arrive(t, withHeader(0, nettest.Payload(60, 0)))   // claims no buffer at all
	r.arrive(t, withHeader(1, nettest.Payload(13, 0)))   // runt
	r.arrive(t, withHeader(1, nettest.Payload(60, 42)))  // good
	r.arrive(t, withHeader(9, nettest.Payload(1000, 0))) // claims more buffers than there are
	var frames [8]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 1 || !bytes.Equal(vringtest.Join(frames[0].Data), nettest.Payload(60, 42)) {
		t.Fatalf("%d frames", n)
	}
	r.release(1)
	if c := r.Counters(); c.Drops[virtionet.DropBadFrame] != 3 || c.Drops[virtionet.DropRunt] != 1 {
		t.Errorf("drops %v", c.Drops)
	}
	if r.devRx.Available(); r.devRx.Pending() != 8 {
		t.Errorf("the device holds %d receive buffers, want all 8", r.devRx.Pending())
	}
	r.arrive(t, make([]byte, 3))
	if n := r.rxFrames(frames[:]); n != 0 {
		t.Fatalf("%d frames", n)
	}
	if r.devRx.Available(); r.devRx.Pending() != 8 {
		t.Errorf("after drops alone the device holds %d receive buffers, want all 8", r.devRx.Pending())
	}
}

func TestNICSends(t *testing.T) {
	r := newNICRig(t, rigFeatures, 4, 0)
	if r.MaxFrame() != 1518 {
		t.Errorf("longest frame is %d, want 1518", r.MaxFrame())
	}
	var sent [][]byte
	take := func() {
		r.devTx.ResetViews()
		r.devTx.Available()
		var c vring.Chain
		for r.devTx.Pop(&c) {
			sent = append(sent, vringtest.Join(c.Read))
			r.devTx.Push(c.Head, 0)
		}
		r.devTx.Publish()
	}
	var want [][]byte
	for i := range 50 {
		p := nettest.Payload(60+i*20, i)
		want = append(want, p)
		if n := r.txFrames([]virtionet.Frame{nettest.Frame(p[:i], p[i:])}); n != 1 {
			t.Fatalf("frame %d not sent", i)
		}
		take()
	}
	for i := range want {
		if !bytes.Equal(sent[i][:12], make([]byte, 12)) || !bytes.Equal(sent[i][12:], want[i]) {
			t.Fatalf("frame %d differs", i)
		}
	}

	burst := make([]virtionet.Frame, 6)
	for i := range burst {
		burst[i] = nettest.Frame(nettest.Payload(60, i))
	}
	burst[1] = nettest.Frame(nettest.Payload(1519, 0)) // over the MTU
	if n := r.txFrames(burst); n != 5 || r.Counters().Drops[virtionet.DropTooLong] != 1 {
		t.Errorf("done with %d frames, want 5: a ring of 4 and one too long; drops %v", n, r.Counters().Drops)
	}
	if n := r.txFrames(burst[5:]); n != 0 {
		t.Error("sent into a full ring")
	}
	r.devTx.EnableKicks()
	take()
	if n := r.txFrames(burst[5:]); n != 1 {
		t.Error("room is not found again")
	}
	r.Notify()
	if r.txKicks == 0 {
		t.Error("the device was never told")
	}

	pending, done := r.InFlight()
	if again, same := r.InFlight(); pending == 0 || again != pending || same != done {
		t.Errorf("%d frames in flight, %d done; then %d and %d", pending, done, again, same)
	}
	for range pending {
		take()
	}
	if left, now := r.InFlight(); left != 0 || now != done+uint64(pending) {
		t.Errorf("all sent: %d in flight, %d done; before %d and %d", left, now, pending, done)
	}
}

func TestNICJumbo(t *testing.T) {
	for _, features := range []virtio.Features{rigFeatures, virtio.Version1} {
		r := newNICRig(t, features, 8, 9000)
		want := nettest.Payload(9018, 1)
		if n := r.txFrames([]virtionet.Frame{nettest.Frame(want)}); n != 1 || r.Counters().TxPackets != 1 {
			t.Fatalf("%v: jumbo frame not sent", features)
		}
		var c vring.Chain
		r.devTx.Available()
		if !r.devTx.Pop(&c) || !bytes.Equal(vringtest.Join(c.Read)[12:], want) {
			t.Errorf("%v: jumbo frame differs", features)
		}
		raw := withHeader(1, want)
		if features.Has(virtio.NetMrgRxbuf) {
			binary.LittleEndian.PutUint16(raw[10:], 5)
			r.arrive(t, raw[:2048], raw[2048:4096], raw[4096:6144], raw[6144:8192], raw[8192:])
		} else {
			r.arrive(t, raw)
		}
		var frames [2]virtionet.Frame
		if n := r.rxFrames(frames[:]); n != 1 || !bytes.Equal(vringtest.Join(frames[0].Data), want) {
			t.Errorf("%v: received %d frames", features, n)
		}
		r.release(1)
	}
}

func TestNICBurstsDoNotAllocate(t *testing.T) {
	r := newNICRig(t, rigFeatures, 16, 0)
	out := []virtionet.Frame{nettest.Frame(nettest.Payload(1000, 0))}
	raw := withHeader(1, nettest.Payload(1000, 1))
	var frames [8]virtionet.Frame
	allocs := testing.AllocsPerRun(1000, func() {
		r.arrive(t, raw)
		r.release(r.rxFrames(frames[:]))
		r.txFrames(out)
		r.devTx.ResetViews()
		r.devRx.ResetViews()
		r.devTx.Available()
		var c vring.Chain
		for r.devTx.Pop(&c) {
			r.devTx.Push(c.Head, 0)
		}
		r.devTx.Publish()
	})
	// arrive's own variadic slice is on the stack, so nothing is left to excuse.
	if allocs != 0 {
		t.Errorf("%v allocations per round", allocs)
	}
	if c := r.Counters(); c.RxPackets < 1000 || c.TxPackets < 1000 {
		t.Errorf("the rounds moved nothing: %+v", c)
	}
}

// A ring that is found broken when its forwarder is about to sleep is reported then: there may be no
// other look.
func TestBrokenRingIsReportedBeforeSleep(t *testing.T) {
	for ring, name := range []string{"receive", "transmit"} {
		r := newNICRig(t, rigFeatures, 8, 0)
		if ring == 1 {
			r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(60, 1))})
		}
		q := []*vring.Device{r.devRx, r.devTx}[ring]
		q.Available()
		var c vring.Chain
		if !q.Pop(&c) {
			t.Fatal(q.Err())
		}
		q.Push(c.Head, 0)
		q.Push(c.Head, 0) // twice
		q.Publish()
		if ring == 1 { // more completions than there is outstanding
			r.EnableKicks(true)
		} else {
			r.EnableKicks(false) // sees one that is fine
			var frames [8]virtionet.Frame
			r.release(r.rxFrames(frames[:]))
			r.EnableKicks(false)
		}
		if len(r.failures) != 1 || !strings.HasPrefix(r.failures[0], name) {
			t.Errorf("%s ring: reported %q", name, r.failures)
		}
	}
}
