package netfwd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// wayEnd is a guest whose driver the test plays.
type wayEnd struct {
	*virtionet.Guest
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
}

func newWayEnd(t *testing.T, name string, c wayConfig) *wayEnd {
	e := &wayEnd{t: t, rx: vringtest.NewPair(t, c.ring), tx: vringtest.NewPair(t, c.ring), head: virtionet.HeaderLen, places: map[uint16]mem.GPA{}}
	if c.legacy && !c.mergeable {
		e.head = virtionet.LegacyHeaderLen
	}
	e.Guest = virtionet.NewGuest(name, func(ring string, err error) {})
	done := make(chan struct{})
	go func() {
		e.Install(&virtionet.Queues{
			ToGuest: e.rx.Device, FromGuest: e.tx.Device, ToGuestEnabled: true, FromGuestEnabled: true,
			Sends: c.sends, Takes: c.takes, HeaderLen: e.head, Mergeable: c.mergeable, MTU: c.mtu,
		})
		close(done)
	}()
	for !e.Changed() {
	}
	e.Sync()
	<-done
	return e
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

// offer offers a receive buffer.
func (e *wayEnd) offer(n int) {
	addr, _ := e.rx.Alloc(n)
	if head, err := e.rx.Driver.Add(nil, []vring.Part{vringtest.Part(addr, n)}); err == nil {
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

// play has two guests, joined by a lane or a switch, send each other random frames in a
// random order of things, and returns what became of them. With long no frame takes the
// short way.
func play(t *testing.T, seed uint64, long bool) (result [2]string, plain uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	pick := func(n int) int { return r.IntN(n) }
	offloads := []virtionet.Offloads{0, virtionet.OffloadCsum, virtionet.OffloadsToDriver(virtio.NetOffloads), virtionet.OffloadsToDevice(virtio.NetOffloads)}
	var ends [2]*wayEnd
	for i := range ends {
		c := wayConfig{
			ring: vringtest.Config{
				Size: 64, Packed: pick(2) == 0, EventIdx: pick(2) == 0, Indirect: pick(2) == 0, Regions: 1 + pick(3), HeapBytes: 1 << 20,
			},
			sends: offloads[pick(4)], takes: offloads[pick(4)], mergeable: pick(2) == 0, legacy: pick(4) == 0, mtu: []int{0, 1500, 9000}[pick(3)],
		}
		ends[i] = newWayEnd(t, fmt.Sprint(i), c)
	}
	ports := []Port{ends[0], ends[1]}
	var g group
	if seed%2 == 0 {
		b := switchOf(ports).(*bridge)
		if long {
			for i := range b.ports {
				clear(b.ports[i].short)
			}
		}
		b.housekeep(time.Unix(1, 0))
		g = b
	} else {
		l := newPair(ports[0], ports[1])
		for _, d := range l.dirs {
			if long {
				d.short = nil
			}
		}
		g = l
	}
	buffers := 64 // a switch drops what there is no room for, and when that is depends on the way
	for _, e := range ends {
		for range buffers {
			e.offer([]int{2048, 2048, 2048, 1526, 100}[pick(5)])
		}
	}
	shapes := [][]packettest.Shape{packettest.Shapes(t, 0), packettest.Shapes(t, 30), packettest.Shapes(t, 1200), packettest.Shapes(t, 3000)}
	for range 60 {
		i := pick(2)
		e := ends[i]
		s := shapes[pick(4)][pick(8)]
		frame := bytes.Clone(s.Unfinished())
		copy(frame, addressOf(station(1-i)))
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
		switch pick(4) {
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
			ends[pick(2)].take()
		}
	}
	for range 10 {
		g.step()
	}
	for i, e := range ends {
		e.take()
		c := *e.Counters()
		plain += c.Plain
		c.Plain, c.Interrupts = 0, 0
		result[i] = fmt.Sprintf("%q\n%+v\n%v %v", e.got, c, e.rx.Device.Err(), e.tx.Device.Err())
	}
	return result, plain
}

// Whichever way frames take, what arrives, what is dropped and why, and what is counted
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
			t.Fatalf("seed %d: %d frames took the short way on the long one", seed, none)
		}
		plain += some
		for i := range want {
			if want[i] != got[i] {
				t.Fatalf("seed %d: guest %d\n%s\nthe short way\n%s", seed, i, want[i], got[i])
			}
		}
	}
	if plain < 10*rounds {
		t.Errorf("only %d frames took the short way", plain)
	}
}
