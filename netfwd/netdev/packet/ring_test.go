package packet

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
	"vvufwd/netfwd/netdev/tap"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
)

// playedRing is a wire with a ring that a test fills.
func playedRing(t *testing.T) (w *wire, slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) {
	t.Helper()
	memory, err := unix.Mmap(-1, 0, blocks*blockBytes+netdev.Burst*2048, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(memory) })
	w = newWire(-1, -1)
	w.ring.memory, w.ring.base = memory, virtionet.AddressOf(memory)
	frames = new([netdev.Burst]uint64)
	for i := range frames {
		frames[i] = w.ring.base + blocks*blockBytes + uint64(i)*2048 + beforeAux
	}
	return w, new([netdev.Burst]netdev.Slot), frames
}

// fill plays the kernel: it fills the i-th slot.
func (w *wire) fill(i int, h unix.Tpacket2Hdr) {
	at := w.ring.slot(uint32(i % ringSlots))
	*headerAt(at) = h
}

const someMac = 76 // where Linux puts frames

// Slots are read in order, over the end of the ring, and given back when they are done.
func TestRingGoesRound(t *testing.T) {
	w, slots, frames := playedRing(t)
	for filled, read := 0, 0; read < 3*ringSlots; {
		for range 50 {
			w.fill(filled, unix.Tpacket2Hdr{Status: unix.TP_STATUS_USER, Len: 64, Snaplen: 64, Mac: someMac})
			bytes(w.ring.slot(uint32(filled%ringSlots))+someMac, 1)[0] = byte(filled)
			filled++
		}
		n, lost, errno := w.Read(slots, frames)
		if n != 50 || lost != 0 || errno != 0 {
			t.Fatalf("%d frames, %d lost, %v", n, lost, errno)
		}
		for i := range n {
			if s := &slots[i]; s.Len != 64 || s.Bytes()[0] != byte(read+i) || s.Header != s.Frame-headerLen {
				t.Fatalf("frame %d: %+v", read+i, s)
			}
		}
		if headerAt(w.ring.slot(uint32(read%ringSlots))).Status == unix.TP_STATUS_KERNEL {
			t.Fatal("a slot was given back while its frame is looked at")
		}
		w.Done()
		for i := range n {
			if headerAt(w.ring.slot(uint32((read+i)%ringSlots))).Status != unix.TP_STATUS_KERNEL {
				t.Fatalf("slot %d was not given back", read+i)
			}
		}
		if read += n; w.ring.given.Load() != uint64(read) || !w.ring.empty(uint64(read)) {
			t.Fatalf("%d slots were given back of %d", w.ring.given.Load(), read)
		}
	}
	if n, _, _ := w.Read(slots, frames); n != 0 {
		t.Errorf("%d frames of an empty ring", n)
	}
}

// What a kernel says that cannot be is no frame, nor is what it had no room for.
func TestRingLies(t *testing.T) {
	for name, c := range map[string]struct {
		h           unix.Tpacket2Hdr
		lost, short int
	}{
		"begins within the header of its slot": {unix.Tpacket2Hdr{Len: 64, Snaplen: 64, Mac: beforeMac - 1}, 1, 0},
		"ends after its slot":                  {unix.Tpacket2Hdr{Len: slotBytes - someMac + 1, Snaplen: slotBytes - someMac + 1, Mac: someMac}, 1, 0},
		"has a length that wraps":              {unix.Tpacket2Hdr{Len: 1<<32 - 1, Snaplen: 1<<32 - 1, Mac: someMac}, 1, 0},
		"begins after its slot":                {unix.Tpacket2Hdr{Len: 64, Snaplen: 64, Mac: 1<<16 - 1}, 1, 0},
		"is not whole":                         {unix.Tpacket2Hdr{Len: 9000, Snaplen: 1600, Mac: someMac}, 0, 1},
		"waits in the socket, but does not":    {unix.Tpacket2Hdr{Status: unix.TP_STATUS_COPY, Len: 9000, Snaplen: 1600, Mac: someMac}, 1, 0},
	} {
		w, slots, frames := playedRing(t)
		good := unix.Tpacket2Hdr{Status: unix.TP_STATUS_USER, Len: 64, Snaplen: 64, Mac: someMac}
		c.h.Status |= unix.TP_STATUS_USER
		w.fill(0, good)
		w.fill(1, c.h)
		w.fill(2, good)
		n, lost, errno := w.Read(slots, frames)
		if n != 2 || lost != c.lost || errno != 0 || int(w.ring.short.Load()) != c.short || w.ring.held != 3 {
			t.Errorf("a frame that %s: %d frames, %d lost, %v, %d short, %d slots", name, n, lost, errno, w.ring.short.Load(), w.ring.held)
		}
	}
}

// A ring that was full for a moment is not taken to be stuck, nor is one whose frames no one has fetched.
func TestNotStuck(t *testing.T) {
	w, slots, frames := playedRing(t)
	good := unix.Tpacket2Hdr{Status: unix.TP_STATUS_USER, Len: 64, Snaplen: 64, Mac: someMac}
	for range 2 {
		if w.isStuck(0) {
			t.Error("stuck without a dropped frame")
		}
	}
	for i := range ringSlots {
		w.fill(i, good)
	}
	if w.isStuck(1) || w.isStuck(2) {
		t.Error("stuck while the ring is full")
	}
	for w.ring.given.Load() < ringSlots {
		w.Read(slots, frames)
		w.Done()
	}
	if w.isStuck(3) {
		t.Error("stuck although the ring was emptied since the last look")
	}
	if w.isStuck(3) {
		t.Error("stuck although nothing was dropped since")
	}
	if !w.isStuck(4) {
		t.Error("frames are dropped by a ring that was empty all the time")
	}
}

// Frames that are held, since they have no place to go yet, keep no one awake although they stay in the kernel's ring.
func TestHeldFramesWakeNoOne(t *testing.T) {
	netdevtest.Namespace(t)
	p := pair(t, 1)
	defer p.A.Close()
	defer p.B.Close()
	from, to := p.A.Ports()[0], p.B.Ports()[0]
	s := netdevtest.NewSource(t)
	send := func() {
		s.Reset()
		s.Add(t, virtionet.Header{}, nettest.Payload(100, 0))
		s.Send(t, from)
	}
	if !p.A.AwaitLink(t.Context()) || !p.B.AwaitLink(t.Context()) {
		t.Fatal("no link")
	}
	readable := func() bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(to.WakeFDs()[0]), Events: unix.POLLIN}}, 0)
		return n > 0
	}
	send()
	var b virtionet.Burst
	for end := time.Now().Add(time.Minute); b.Len() == 0; to.Receive(&b) {
		if time.Now().After(end) {
			t.Fatal("no frame comes")
		}
	}
	if frames, _ := to.EnableKicks(false); !frames || readable() {
		t.Errorf("with a held frame: frames %t, readable %t", frames, readable())
	}
	to.Release(&b, 0, b.Len())
	if frames, _ := to.EnableKicks(false); frames || readable() {
		t.Errorf("with nothing: frames %t, readable %t", frames, readable())
	}
	send()
	for end := time.Now().Add(time.Minute); !readable(); {
		if time.Now().After(end) {
			t.Fatal("a frame wakes no one")
		}
	}
}

// A frame that no virtio-net header can describe ends the use of the ring, not of the port.
func TestStuckRing(t *testing.T) {
	netdevtest.Namespace(t)
	far := openTAP(t)
	files, err := Open("tap0", 1)
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(files)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	d, c := i.(*device), &netdev.Condition{}
	look := func() {
		t.Helper()
		s, err := d.Look()
		if err != nil || !s.Runs {
			t.Fatalf("%+v, %v", s, err)
		}
		c.Set(s)
	}
	queues, err := d.Queues("packet:tap0", c)
	if err != nil {
		t.Fatal(err)
	}
	defer queues[0].Close()
	look()
	plain := append(make([]byte, virtionet.HeaderLen), nettest.Payload(100, 0)...)
	odd := append(make([]byte, virtionet.HeaderLen), udp(3000)...)
	const datagram = 3 // VIRTIO_NET_HDR_GSO_UDP, which has no header in this direction
	copy(odd, []byte{virtionet.FlagNeedsCsum, datagram, 42, 0, 0xd0, 0x05, 34, 0, 6, 0})
	came := func() bool {
		var b virtionet.Burst
		queues[0].Receive(&b)
		queues[0].Release(&b, 0, b.Len())
		return b.Len() > 0
	}
	passes := func(want string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !done(); {
			if _, err := far.Write(plain); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(end) {
				t.Fatal(want)
			}
		}
	}
	passes("no frame passes", came)
	look()
	if _, err := far.Write(odd); err != nil {
		t.Fatal(err)
	}
	before, _ := d.Dropped()
	after := 0 // a stuck ring has no more than there are slots
	passes("the ring gives no frames, and drops none", func() bool {
		n, _ := d.Dropped()
		if came() {
			after++
		}
		return n > before || after > 2*ringSlots
	})
	look()
	if after > 2*ringSlots {
		t.Logf("%d frames have passed since: this kernel passes over the frame (so does 7.3), and its ring is used on", after)
		if d.wires[0].resorted.Load() {
			t.Error("the ring is not used any more")
		}
		return
	}
	if !d.wires[0].resorted.Load() {
		t.Fatal("the ring is still used")
	}
	passes("no frame passes through the socket in reserve", came)
	before, _ = d.Dropped()
	if n, err := far.Write(odd); err != nil {
		t.Fatal(n, err)
	}
	lost := queues[0].Counters().Drops[virtionet.DropBadHeader]
	passes("no frame passes after another one", came)
	passes("the frame is not counted", func() bool {
		came()
		return queues[0].Counters().Drops[virtionet.DropBadHeader] == lost+1
	})
	if n, _ := d.Dropped(); n != before {
		t.Errorf("%d frames are counted as dropped by the ring that is not used", n-before)
	}
}

// openTAP is the far end of an interface tap0.
func openTAP(t *testing.T) *os.File {
	t.Helper()
	files, err := tap.Open("tap0", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files[0].Close() })
	raw, err := files[0].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		err = unix.IoctlSetPointerInt(int(fd), unix.TUNSETVNETHDRSZ, virtionet.HeaderLen)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// udp is a datagram of IPv4 in a frame of n bytes.
func udp(n int) []byte {
	frame := make([]byte, n)
	copy(frame, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, byte((n - 14) >> 8), byte(n - 14), 0, 0, 0, 0, 64, 17})
	copy(frame[26:], []byte{192, 0, 2, 1, 192, 0, 2, 2, 0x10, 0, 0x10, 1, byte((n - 34) >> 8), byte(n - 34)})
	return frame
}
