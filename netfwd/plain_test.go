package netfwd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// wayEnd is a guest whose driver the test plays.
type wayEnd struct {
	*guest.Port
	t      *testing.T
	rx, tx *vringtest.Pair
	head   int
	sent   int                // buffers offered to be read
	places map[uint16]mem.GPA // of receive buffers, by head
	got    []string           // what arrived: the header, the frame, and in how many buffers
}

// wayConfig is what the two guests of a test are like.
type wayConfig struct {
	ring         vringtest.Config
	sends, takes virtionet.Offloads
	mergeable    bool
	legacy       bool
	mtu          int
	long         bool // no frame is plain, because writes are logged
}

func newWayEnd(t *testing.T, name string, c wayConfig) *wayEnd {
	e := &wayEnd{t: t, rx: vringtest.NewPair(t, c.ring), tx: vringtest.NewPair(t, c.ring), head: virtionet.HeaderLen, places: map[uint16]mem.GPA{}}
	if c.legacy && !c.mergeable {
		e.head = virtionet.LegacyHeaderLen
	}
	e.Port = guest.New(name, func(ring string, err error) {})
	q := &guest.Queues{
		ToGuest: e.rx.Device, FromGuest: e.tx.Device, ToGuestEnabled: true, FromGuestEnabled: true,
		Sends: c.sends, Takes: c.takes, HeaderLen: e.head, Mergeable: c.mergeable, MTU: c.mtu,
	}
	if c.long {
		q.ToGuestLog, q.FromGuestLog = loggingOf(t, e.rx), loggingOf(t, e.tx)
	}
	done := make(chan struct{})
	go func() { e.Install(q); close(done) }()
	for !e.Changed() {
	}
	e.Sync()
	<-done
	return e
}

// loggingOf marks what is written for a ring, where no one looks.
func loggingOf(t *testing.T, p *vringtest.Pair) *vring.Logging {
	size := (p.Mem.LogBytes() + mem.DirtyPage) &^ (mem.DirtyPage - 1)
	log, err := mem.NewDirtyLog(p.Mem, make([]byte, size), 0, size)
	if err != nil {
		t.Fatal(err)
	}
	l, ok := vring.NewLogging(log, p.DeviceConfig.Desc, p.DeviceConfig.Used, p.DeviceConfig.Size, p.DeviceConfig.Packed)
	if !ok {
		t.Fatal("the log does not cover the ring")
	}
	return l
}

// send offers one buffer of some pieces, or none if the ring is full.
func (e *wayEnd) send(b []byte, cuts []int) {
	var parts []vring.Part
	for i, rest := 0, b; len(rest) > 0; i++ {
		n := len(rest)
		if i < len(cuts) {
			n = min(n, cuts[i])
		}
		addr, view := e.tx.Alloc(n)
		copy(view, rest)
		rest = rest[n:]
		parts = append(parts, vringtest.Part(addr, n))
	}
	if _, err := e.tx.Driver.Add(parts, nil); err == nil {
		e.sent++
	}
	e.tx.Driver.Publish()
}

// offer offers a receive buffer, in parts of these sizes and one of the rest.
func (e *wayEnd) offer(n int, cuts ...int) {
	addr, _ := e.rx.Alloc(n)
	var parts []vring.Part
	at := addr
	for _, c := range cuts {
		parts = append(parts, vringtest.Part(at, c))
		at += mem.GPA(c)
	}
	parts = append(parts, vringtest.Part(at, n-int(at-addr)))
	if head, err := e.rx.Driver.Add(nil, parts); err == nil {
		e.places[head] = addr
	}
	e.rx.Driver.Publish()
}

// take notes what has arrived.
func (e *wayEnd) take() {
	var u vring.Used
	var frame []byte
	left := 0
	e.rx.Driver.Completed()
	for e.rx.Driver.Take(&u) {
		b := e.rx.Read(e.places[u.Head], int(u.Len))
		if left == 0 {
			frame, left = nil, 1
			if e.head == virtionet.HeaderLen {
				left = int(binary.LittleEndian.Uint16(b[10:]))
			}
		}
		frame = append(frame, b...)
		if left--; left == 0 {
			e.got = append(e.got, fmt.Sprintf("%x %x", frame[:e.head], frame[e.head:]))
		}
	}
	for e.tx.Driver.Completed(); e.tx.Driver.Take(&u); {
	}
}

// play has two guests joined by a lane, or three by a switch, send each other random frames in a
// random order of things, and returns what became of them. With long no frame
// is plain.
func play(t *testing.T, seed uint64, long bool) (result []string, plain uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	pick := func(n int) int { return r.IntN(n) }
	offloads := []virtionet.Offloads{0, virtionet.OffloadCsum, virtionet.OffloadsToDriver(virtio.NetOffloads), virtionet.OffloadsToDevice(virtio.NetOffloads)}
	ends := make([]*wayEnd, 2+(seed+1)%2)
	var ports []Port
	for i := range ends {
		c := wayConfig{
			ring: vringtest.Config{
				Size: 256, Packed: pick(2) == 0, EventIdx: pick(2) == 0, Indirect: pick(2) == 0, Regions: 1 + pick(3), HeapBytes: 2 << 20,
			},
			sends: offloads[pick(4)], takes: offloads[pick(4)], mergeable: pick(2) == 0, legacy: pick(4) == 0, mtu: []int{0, 1500, 9000}[pick(3)], long: long,
		}
		ends[i] = newWayEnd(t, fmt.Sprint(i), c)
		ports = append(ports, ends[i])
	}
	var g group
	if seed%2 == 0 {
		g = switchOf(ports)
		g.housekeep(time.Unix(1, 0))
	} else {
		g = newPair(ports[0], ports[1])
	}
	// In a switch, whose frames come first if several send is left open, and so is who
	// finds no room: there are either many senders or few buffers, and they are all alike.
	senders := len(ends)
	if seed%4 == 0 {
		senders = 1
	}
	for _, e := range ends {
		switch {
		case senders == 1:
			for range pick(20) {
				e.offer(4096)
			}
		case len(ends) == 3:
			for range 64 {
				e.offer(4096)
			}
		default:
			for range 64 {
				n := []int{2048, 2048, 2048, 1526, 100}[pick(5)]
				e.offer(n, [][]int{nil, nil, {12}, {5, 30}}[pick(4)]...)
			}
		}
	}
	shapes := [][]packettest.Shape{packettest.Shapes(t, 0), packettest.Shapes(t, 30), packettest.Shapes(t, 1200), packettest.Shapes(t, 3000)}
	for range 60 {
		i := pick(senders)
		e := ends[i]
		s := shapes[pick(4)][pick(8)]
		frame := bytes.Clone(s.Unfinished())
		copy(frame, addressOf(station(pick(len(ends)))))
		copy(frame[6:], addressOf(station(i)))
		header := make([]byte, e.head)
		switch pick(8) {
		case 0, 1:
			header[0] = 1
			binary.LittleEndian.PutUint16(header[6:], s.Layout.L4)
			binary.LittleEndian.PutUint16(header[8:], s.Layout.ChecksumOffset())
			if pick(3) == 0 {
				header[1] = []byte{1, 4, 5, 9}[pick(4)]
				binary.LittleEndian.PutUint16(header[4:], uint16(pick(1500)))
			}
			if pick(6) == 0 {
				header[6+pick(4)] ^= byte(1 << pick(8)) // it lies
			}
		case 2:
			header[0] = 2
		case 3:
			frame = frame[:pick(len(frame))] // a runt perhaps
		case 4:
			frame[pick(12)] ^= byte(1 << pick(8)) // another address
		}
		var cuts []int
		switch pick(5) {
		case 4:
			cuts = append([]int{e.head + pick(60)}, slices.Repeat([]int{1 + pick(200)}, 1+pick(18))...)
		case 0:
			cuts = []int{e.head}
		case 1:
			cuts = []int{e.head + 1 + pick(80)}
		case 2:
			cuts = []int{e.head, 1 + pick(60), 1 + pick(60)}[:1+pick(3)]
		}
		e.send(append(header, frame...), cuts)
		if pick(3) == 0 {
			g.step()
		}
		if pick(8) == 0 {
			ends[pick(len(ends))].take()
		}
	}
	for range 60 { // frames that are plain and such that are not come in bursts of their own
		g.step()
	}
	for _, e := range ends {
		e.take()
		if senders == 3 {
			slices.Sort(e.got)
		}
		c := *e.Counters()
		plain += c.Plain
		c.Plain, c.Interrupts = 0, 0
		if senders == 1 { // a frame too long for which there is no room is dropped for either
			c.Drops[virtionet.DropNoRoom] += c.Drops[virtionet.DropTooLong]
			c.Drops[virtionet.DropTooLong] = 0
		}
		result = append(result, fmt.Sprintf("%d sent, %q\n%+v\n%v %v", e.sent, e.got, c, e.rx.Device.Err(), e.tx.Device.Err()))
	}
	return result, plain
}

// abridged is a result to be read: of each frame its first bytes.
func abridged(result string) string {
	return regexp.MustCompile(`([0-9a-f]{60})[0-9a-f]*`).ReplaceAllString(result, "$1…")
}

// Whether frames are plain or not, what arrives, what is dropped and why, and what is counted
// are the same.
func TestBothWaysAreOne(t *testing.T) {
	var plain uint64
	rounds := uint64(200)
	if testing.Short() {
		rounds = 60
	}
	for seed := range rounds {
		want, none := play(t, seed, true)
		got, some := play(t, seed, false)
		if none != 0 {
			t.Fatalf("seed %d: %d frames are plain though writes are logged", seed, none)
		}
		plain += some
		for i := range want {
			if want[i] != got[i] {
				t.Fatalf("seed %d: guest %d\n%s\nplain\n%s", seed, i, abridged(want[i]), abridged(got[i]))
			}
		}
	}
	if plain < 10*rounds {
		t.Errorf("only %d frames were plain", plain)
	}
}

// Plain frames that wait for room let the loop sleep until there is some.
func TestPlainFramesWaitForRoom(t *testing.T) {
	for _, packed := range []bool{false, true} {
		from, to := newSyncEndWith(t, vringtest.Config{Packed: packed}), newSyncEndWith(t, vringtest.Config{Packed: packed})
		from.install(nil, func(*guest.Queues) {})
		to.install(nil, func(*guest.Queues) {})
		l := newPair(from, to)
		to.offerBuffers(1)
		from.sendNumbered(0, 3, 1)
		for range 3 {
			l.step()
		}
		if n := from.Counters().Plain; n != 1 {
			t.Fatalf("packed %v: %d frames were plain, want 1", packed, n)
		}
		if l.enableKicks() {
			t.Errorf("packed %v: there is work though there is no room", packed)
		}
		to.offerBuffers(2)
		if !l.enableKicks() {
			t.Errorf("packed %v: no work though there is room", packed)
		}
		l.disableKicks()
		l.step()
		if l.enableKicks() || from.Counters().Plain != 3 {
			t.Errorf("packed %v: %d frames were plain, want 3, or there is work still", packed, from.Counters().Plain)
		}
	}
}

// What waited of a guest whose next session is tracked, and whose frames are not plain then,
// is no reason any more to let new frames wait when the loop goes to sleep.
func TestPlainFramesAreLeftForATrackedRing(t *testing.T) {
	for _, packed := range []bool{false, true} {
		from, to := newSyncEndWith(t, vringtest.Config{Packed: packed}), newSyncEndWith(t, vringtest.Config{Packed: packed})
		from.install(nil, func(*guest.Queues) {})
		to.install(nil, func(*guest.Queues) {})
		l := newPair(from.Port, to.Port)
		to.offerBuffers(1)
		from.sendNumbered(0, 3, 1)
		for range 3 {
			l.step()
		}
		if !l.dirs[0].blocked() {
			t.Fatalf("packed %v: nothing waits for room", packed)
		}
		from.install(l, func(q *guest.Queues) { q.FromGuest = newTrackedRing(t, packed).device(t, 1) })
		l.step()
		if l.dirs[0].blocked() {
			t.Errorf("packed %v: frames of the session before are waited with", packed)
		}
	}
}
