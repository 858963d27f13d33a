package l2nat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// fakeCard is an interface whose frames a test plays.
type fakeCard struct {
	state  netdev.State
	arrive [][][]byte // what each Read finds
	errno  unix.Errno // of the Read that finds nothing

	room    int        // how many frames each Write takes
	refuses unix.Errno // why not more
	sent    [][]byte
	writes  int
	wires   int
	closed  bool
}

func (c *fakeCard) Look() (netdev.State, error)                  { return c.state, nil }
func (c *fakeCard) Return() error                                { return errors.New("gone for good") }
func (c *fakeCard) Dropped() (n uint64, known bool)              { return 0, false }
func (c *fakeCard) Offloads() (leaves, takes virtionet.Offloads) { return 0, virtionet.OffloadCsum }
func (c *fakeCard) Close() error                                 { c.closed = true; return nil }
func (c *fakeCard) HeaderLen() int                               { return virtionet.LegacyHeaderLen }
func (c *fakeCard) Done()                                        {}
func (c *fakeCard) FurtherFD() int                               { return -1 }
func (c *fakeCard) FD() int                                      { return -1 }

func (c *fakeCard) Queues(name string, k *netdev.Condition) ([]netdev.Queue, error) {
	return netdev.OverWires(name, k, c)
}

func (c *fakeCard) Wires() (wires []netdev.Wire) {
	for range c.wires {
		wires = append(wires, c)
	}
	return wires
}

func (c *fakeCard) Read(slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) (n, lost int, errno unix.Errno) {
	if len(c.arrive) == 0 {
		return 0, 0, c.errno
	}
	for i, b := range c.arrive[0] {
		s := netdev.Slot{Frame: frames[i], Len: uint32(len(b))}
		copy(s.Bytes(), b)
		slots[i] = s
	}
	n = len(c.arrive[0])
	c.arrive = c.arrive[1:]
	return n, 0, 0
}

func (c *fakeCard) Write(slots []netdev.Slot) (n int, errno unix.Errno) {
	c.writes++
	for n < min(len(slots), c.room) {
		c.sent = append(c.sent, bytes.Clone(slots[n].Bytes()))
		n++
	}
	if n < len(slots) {
		return n, c.refuses
	}
	return n, 0
}

// bench is a wire with memory for what it reads and writes.
type bench struct {
	card   *fakeCard
	device *device
	wire   netdev.Wire
	slots  [netdev.Burst]netdev.Slot
	frames [netdev.Burst]uint64
	memory []byte
	now    time.Time
}

const benchSlot = 2048

func newBench(t testing.TB, cards int) *bench {
	t.Helper()
	b := &bench{card: &fakeCard{wires: cards, room: netdev.Burst, state: netdev.State{Runs: true, Address: [6]byte(cardMAC)}}, now: at(0)}
	var err error
	if b.memory, err = unix.Mmap(-1, 0, netdev.Burst*benchSlot, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b.memory) })
	for i := range b.frames {
		b.frames[i] = virtionet.AddressOf(b.memory) + uint64(i*benchSlot+128)
	}
	i, err := wrap(b.card, defaultLimits, testAge, func() time.Time { return b.now })
	if err != nil {
		t.Fatal(err)
	}
	b.device = i.(*device)
	b.wire = b.device.Wires()[0]
	if _, err := i.Look(); err != nil {
		t.Fatal(err)
	}
	return b
}

// put lays out frames to be written.
func (b *bench) put(frames ...[]byte) []netdev.Slot {
	for i, f := range frames {
		b.slots[i] = netdev.Slot{Header: b.frames[i] - virtionet.LegacyHeaderLen, Frame: b.frames[i], Len: uint32(len(f))}
		clear(b.slots[i].HeaderBytes()[:])
		copy(b.slots[i].Bytes(), f)
	}
	return b.slots[:len(frames)]
}

// Frames that are refused end a Write, so that the port counts them in their place; those after
// them are changed once, however often they are offered.
func TestWriteRefusesInPlace(t *testing.T) {
	b := newBench(t, 1)
	b.wire.Write(b.put(udp4(t, bMAC, hostMAC, bIP, hostIP)))
	good, eapol := udp4(t, aMAC, hostMAC, aIP, hostIP), udp4(t, aMAC, hostMAC, aIP, hostIP)
	eapol[12], eapol[13] = 0x88, 0x8e
	b.card.sent = nil
	list := b.put(good, good, eapol, good, udp4(t, aMAC, hostMAC, bIP, hostIP), good)
	for _, step := range []struct {
		n     int
		errno unix.Errno
	}{{2, netdev.Filtered}, {1, netdev.Spoofed}, {1, 0}} {
		n, errno := b.wire.Write(list)
		if n != step.n || errno != step.errno {
			t.Fatalf("%d frames, %v, want %+v", n, errno, step)
		}
		if list = list[n:]; errno != 0 {
			list = list[1:] // as the port does
		}
	}
	want := udp4(t, cardMAC, hostMAC, aIP, hostIP)
	if len(b.card.sent) != 4 {
		t.Fatalf("%d frames are sent", len(b.card.sent))
	}
	for i, f := range b.card.sent {
		if !bytes.Equal(f, want) {
			t.Errorf("frame %d leaves as\n%x, want\n%x", i, f, want)
		}
	}
	if s := b.device.Translation().(Stats); s.Filtered != 1 || s.Spoofed != 1 || s.Addresses != 2 || s.Stations != 2 {
		t.Errorf("statistics %+v", s)
	}
}

func TestWriteAgainAfterAnError(t *testing.T) {
	b := newBench(t, 1)
	arp := build(t, aMAC, allMAC, arpLayer(1, aMAC, aIP, noMAC, hostIP))
	eapol := bytes.Clone(arp)
	eapol[12], eapol[13] = 0x88, 0x8e
	list := b.put(arp, arp, arp, eapol)
	b.card.room, b.card.refuses = 1, unix.ENOBUFS
	if n, errno := b.wire.Write(list); n != 1 || errno != unix.ENOBUFS {
		t.Fatalf("%d frames, %v", n, errno)
	}
	b.card.room = netdev.Burst
	if n, errno := b.wire.Write(list[2:]); n != 1 || errno != netdev.Filtered { // the second was dropped
		t.Fatalf("%d frames, %v", n, errno)
	}
	want := build(t, cardMAC, allMAC, arpLayer(1, cardMAC, aIP, noMAC, hostIP))
	if len(b.card.sent) != 2 || !bytes.Equal(b.card.sent[1], want) {
		t.Errorf("leaves as %x", b.card.sent)
	}
	if s := b.device.Translation().(Stats); s.Filtered != 1 || s.Stations != 1 || b.device.wire.t.owner(address4(aIP.To4(), 0)) != macOf(aMAC) {
		t.Errorf("statistics %+v; a station was learned that is none, or a frame was counted twice", s)
	}
}

// The header says whether a checksum is complete.
func TestWriteReadsTheHeader(t *testing.T) {
	b := newBench(t, 1)
	list := b.put(outgoing(t, aMAC)["DHCP"])
	const l4, field = 34, 34 + udpChecksum
	h := list[0].HeaderBytes()
	h[0] = virtionet.FlagNeedsCsum
	binary.LittleEndian.PutUint16(h[6:], l4)
	binary.LittleEndian.PutUint16(h[8:], udpChecksum)
	want := bytes.Clone(list[0].Bytes()[field : field+2])
	if n, errno := b.wire.Write(list); n != 1 || errno != 0 || !bytes.Equal(b.card.sent[0][field:field+2], want) {
		t.Errorf("%d frames, %v: the sum of the pseudo header is changed", n, errno)
	}
}

func TestReadLeavesOutWhatIsForNoStation(t *testing.T) {
	b := newBench(t, 1)
	b.wire.Write(b.put(udp4(t, aMAC, hostMAC, aIP, hostIP)))
	ours, theirs, ownEcho := udp4(t, hostMAC, cardMAC, hostIP, aIP), udp4(t, hostMAC, cardMAC, hostIP, bIP), udp4(t, cardMAC, allMAC, aIP, bIP)
	b.card.errno = unix.EAGAIN
	b.card.arrive = [][][]byte{{theirs, ownEcho}, {theirs, ours, {1, 2, 3}, ownEcho, ours}, {ours}}
	n, lost, errno := b.wire.Read(&b.slots, &b.frames)
	if n != 3 || lost != 0 || errno != 0 {
		t.Fatalf("%d frames, %d lost, %v", n, lost, errno)
	}
	want := udp4(t, hostMAC, aMAC, hostIP, aIP)
	for _, i := range []int{0, 2} {
		if !bytes.Equal(b.slots[i].Bytes(), want) {
			t.Errorf("frame %d goes in as %x", i, b.slots[i].Bytes())
		}
	}
	if b.slots[1].Len != 3 {
		t.Error("a frame that is too short does not come to the port, which counts it")
	}
	if n, _, _ = b.wire.Read(&b.slots, &b.frames); n != 1 {
		t.Errorf("%d frames", n)
	}
	if n, _, errno = b.wire.Read(&b.slots, &b.frames); n != 0 || errno != unix.EAGAIN {
		t.Errorf("%d frames, %v", n, errno)
	}
	if s := b.device.Translation().(Stats); s.Unmapped != 2 || s.Echoes != 2 || s.Foreign != 0 {
		t.Errorf("statistics %+v", s)
	}
	// A flood of what is for no one does not hold the loop up.
	for range 100 {
		b.card.arrive = append(b.card.arrive, [][]byte{theirs})
	}
	if n, _, _ = b.wire.Read(&b.slots, &b.frames); n != 0 || len(b.card.arrive) != 100-reads {
		t.Errorf("%d frames, %d reads are left", n, len(b.card.arrive))
	}
}

func TestTheCardsAddressIsFollowed(t *testing.T) {
	b := newBench(t, 1)
	b.card.state.Address = [6]byte(hostMAC)
	if _, err := b.device.Look(); err != nil {
		t.Fatal(err)
	}
	b.wire.Write(b.put(udp4(t, aMAC, bMAC, aIP, bIP)))
	if len(b.card.sent) != 1 || !bytes.Equal(b.card.sent[0], udp4(t, hostMAC, bMAC, aIP, bIP)) {
		t.Errorf("leaves as %x", b.card.sent)
	}
	b.now = at(66)
	b.card.arrive = [][][]byte{{udp4(t, bMAC, hostMAC, bIP, aIP)}}
	if n, _, _ := b.wire.Read(&b.slots, &b.frames); n != 0 {
		t.Error("the clock does not go on")
	}
}

func TestOneQueue(t *testing.T) {
	c := &fakeCard{wires: 2}
	if _, err := Wrap(c, testAge); err == nil || !c.closed {
		t.Errorf("two queues: %v, closed: %v", err, c.closed)
	}
}

// Nothing is allocated for a frame.
func TestNoAllocations(t *testing.T) {
	b := newBench(t, 1)
	out, in := outgoing(t, aMAC), outgoing(t, hostMAC)
	var frames [][]byte
	for _, f := range in {
		copy(f, cardMAC)
		frames = append(frames, f)
	}
	tr := b.device.wire.t
	scratch := make([]byte, 2048)
	if n := testing.AllocsPerRun(100, func() {
		for _, f := range out {
			tr.out(scratch[:copy(scratch, f)], -1)
		}
		for _, f := range frames {
			tr.in(scratch[:copy(scratch, f)])
		}
		b.device.wire.counted.publish(tr)
		b.device.wire.begin()
	}); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func BenchmarkTranslate(b *testing.B) {
	for _, name := range []string{"IPv4", "IPv6"} {
		f := outgoing(b, aMAC)[name]
		back := udp4(b, hostMAC, cardMAC, hostIP, aIP)
		if name == "IPv6" {
			back = udp6(b, hostMAC, cardMAC, host6, a6)
		}
		tr := newTranslator(defaultLimits, testAge)
		tr.card = macOf(cardMAC)
		scratch := make([]byte, 2048)
		b.Run(name+" out", func(b *testing.B) {
			for b.Loop() {
				if tr.out(scratch[:copy(scratch, f)], -1) != pass {
					b.Fatal("refused")
				}
			}
		})
		b.Run(name+" in", func(b *testing.B) {
			for b.Loop() {
				if tr.in(scratch[:copy(scratch, back)]) != pass {
					b.Fatal("not admitted")
				}
			}
		})
	}
}
