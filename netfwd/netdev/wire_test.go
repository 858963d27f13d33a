package netdev_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

// played is what a kernel says when frames are read, or written.
type played struct {
	frames []arrival // to read
	n      int       // how many it writes
	lost   int
	errno  unix.Errno
}

// arrival is a frame as the kernel hands it over: n is how long it says it is, which needs not be true.
type arrival struct {
	header, data []byte
	n            int
}

// kernel is an interface with one queue, which a test plays.
type kernel struct {
	t             testing.TB
	fd            int
	leaves, takes virtionet.Offloads
	reads, writes []played // without any: nothing to read, all is written
	written       []arrival
	done          int // calls of Done
}

func (k *kernel) Look() (netdev.State, error)                  { return netdev.State{}, unix.ENODEV }
func (k *kernel) Return() error                                { return unix.ENODEV }
func (k *kernel) Dropped() (uint64, bool)                      { return 0, false }
func (k *kernel) Close() error                                 { return unix.Close(k.fd) }
func (k *kernel) Wires() []netdev.Wire                         { return []netdev.Wire{k} }
func (k *kernel) Offloads() (leaves, takes virtionet.Offloads) { return k.leaves, k.takes }
func (k *kernel) HeaderLen() int                               { return virtionet.LegacyHeaderLen }
func (k *kernel) Done()                                        { k.done++ }
func (k *kernel) FurtherFD() int                               { return -1 }
func (k *kernel) FD() int                                      { return k.fd }

func (k *kernel) Queues(name string, c *netdev.Condition) ([]netdev.Queue, error) {
	return netdev.OverWires(name, c, k)
}

func (k *kernel) Read(slots *[netdev.Burst]netdev.Slot, frames *[netdev.Burst]uint64) (n, lost int, errno unix.Errno) {
	if len(k.reads) == 0 {
		return 0, 0, unix.EAGAIN
	}
	r := k.reads[0]
	k.reads = k.reads[1:]
	for i, f := range r.frames {
		s := netdev.Slot{Frame: frames[i], Header: frames[i] - virtionet.LegacyHeaderLen, Len: netdev.FrameRoom}
		clear(s.Bytes()[:2048]) // what was there before is no part of it
		copy(s.Bytes(), f.data)
		*s.HeaderBytes() = [virtionet.LegacyHeaderLen]byte{}
		copy(s.HeaderBytes()[:], f.header)
		s.Len = uint32(f.n)
		slots[i] = s
	}
	return len(r.frames), r.lost, r.errno
}

func (k *kernel) Write(slots []netdev.Slot) (n int, errno unix.Errno) {
	r := played{n: len(slots)}
	if len(k.writes) > 0 {
		r, k.writes = k.writes[0], k.writes[1:]
	}
	for n < min(r.n, len(slots)) {
		s := &slots[n]
		k.written = append(k.written, arrival{bytes.Clone(s.HeaderBytes()[:]), bytes.Clone(s.Bytes()), int(s.Len)})
		n++
	}
	if n < len(slots) {
		return n, r.errno
	}
	return n, 0
}

// queue is the queue pair of a kernel, and what it knows of it.
func (k *kernel) queue(t testing.TB) (netdev.Queue, *netdev.Condition) {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	k.t, k.fd = t, fd
	c := &netdev.Condition{}
	works(c)
	queues, err := k.Queues("v0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(queues[0].Close(), k.Close()); err != nil {
			t.Error(err)
		}
	})
	return queues[0], c
}

func works(c *netdev.Condition) { c.Set(netdev.State{Up: true, Runs: true, MTU: 1500}) }

// good is a frame without offloads.
func good(seed int) arrival { f := plain(100+seed, seed); return arrival{data: f, n: len(f)} }

func plain(n, seed int) []byte { return nettest.Payload(n, seed) }

// raw is a header as the kernel writes it.
func raw(h virtionet.Header) []byte {
	var b [virtionet.HeaderLen]byte
	h.Put(&b)
	return b[:virtionet.LegacyHeaderLen]
}

// taken receives all there is and releases it, one part after the other.
func taken(q netdev.Queue) (frames [][]byte) {
	var b virtionet.Burst
	for idle := 0; idle < 2; {
		if worked := q.Receive(&b); b.Len() == 0 {
			if !worked {
				idle++
			}
			continue
		}
		first := b.Frames(0, 1)[0]
		var f []byte
		for _, v := range first.Data {
			f = append(f, v...)
		}
		frames = append(frames, f)
		q.Release(&b, 0, 1) // the others come again
	}
	return frames
}

// What cannot be used is counted, each for itself, and what came with it arrives.
func TestReadsThatAreWrong(t *testing.T) {
	tcp := packettest.Shapes(t, 3000)[0]
	unfinished := func(change func(h *virtionet.Header)) arrival {
		h := nettest.GSOHeader(tcp, 1000)
		change(&h)
		return arrival{raw(h), tcp.Unfinished(), len(tcp.Frame)}
	}
	for _, test := range []struct {
		name string
		bad  arrival
		drop virtionet.Drop
	}{
		{"nothing", arrival{n: 0}, virtionet.DropRunt},
		{"less than an Ethernet header", arrival{data: plain(13, 0), n: 13}, virtionet.DropRunt},
		{"longer than the slot", arrival{data: plain(100, 0), n: netdev.FrameRoom}, virtionet.DropTooLong},
		{"longer than there is memory", arrival{data: plain(100, 0), n: 1<<32 - 1}, virtionet.DropTooLong},
		{"segments of no bytes", unfinished(func(h *virtionet.Header) { h.GSOSize = 0 }), virtionet.DropBadHeader},
		{"segments of an unknown kind", unfinished(func(h *virtionet.Header) { h.GSOType = 77 }), virtionet.DropBadHeader},
		{"segments without a checksum to complete", unfinished(func(h *virtionet.Header) { h.Flags = 0 }), virtionet.DropBadHeader},
		{"a checksum that begins after the frame", unfinished(func(h *virtionet.Header) { h.CsumStart = 60000 }), virtionet.DropBadHeader},
		{"a checksum that lies after the frame", unfinished(func(h *virtionet.Header) { h.CsumOffset = 60000 }), virtionet.DropBadHeader},
		{"a checksum in the Ethernet header", unfinished(func(h *virtionet.Header) { h.CsumStart = 0 }), virtionet.DropBadHeader},
		{"a frame that ends before its headers", arrival{raw(nettest.GSOHeader(tcp, 1000)), tcp.Unfinished(), 20}, virtionet.DropBadHeader},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := &kernel{leaves: nettest.AllOffloads, reads: []played{
				{frames: []arrival{good(0), test.bad, good(1), test.bad, test.bad, good(2)}},
				{frames: []arrival{test.bad}, lost: 2, errno: unix.EAGAIN},
				{errno: unix.ENOBUFS},
				{frames: []arrival{good(3)}},
			}}
			q, c := k.queue(t)
			frames := taken(q)
			if len(frames) != 4 || c.Down() {
				t.Fatalf("%d frames, down %v", len(frames), c.Down())
			}
			for i, f := range frames {
				if !bytes.Equal(f, good(i).data) {
					t.Errorf("frame %d is not the one that came", i)
				}
			}
			var want virtionet.Counters
			want.Drops[test.drop] += 4
			want.Drops[virtionet.DropBadHeader] += 2 // that were lost
			if got := q.Counters(); got.Drops != want.Drops || got.RxPackets != 4 {
				t.Errorf("%d frames received, drops %v, want %v", got.RxPackets, got.Drops, want.Drops)
			}
		})
	}
}

// An error of the interface stops its queue pair, which gives away what it had read before; others do not.
func TestReadsThatFail(t *testing.T) {
	for errno, down := range map[unix.Errno]bool{
		unix.ENETDOWN: true, unix.ENXIO: true, unix.ENODEV: true, unix.EBADFD: true, unix.EIO: true,
		unix.EAGAIN: false, unix.ENOBUFS: false, unix.ENOMEM: false, unix.EINTR: false, unix.EINVAL: false,
	} {
		k := &kernel{reads: []played{{frames: []arrival{good(0), good(1)}, errno: errno}, {frames: []arrival{good(2)}}}}
		q, c := k.queue(t)
		want := 3
		if down {
			want = 2
		}
		if frames := taken(q); len(frames) != want || c.Down() != down || (q.WakeFDs() == nil) != down {
			t.Errorf("%v: %d frames, down %v", errno, len(frames), c.Down())
		}
		works(c)
		if frames := taken(q); len(frames) != 3-want || q.Counters().Dropped() != 0 {
			t.Errorf("%v: %d frames when it works again, drops %v", errno, len(frames), q.Counters().Drops)
		}
	}
}

// A write that fails costs one frame, which is counted, or none if there is only no room now.
func TestWritesThatFail(t *testing.T) {
	const none virtionet.Drop = 255
	for errno, drop := range map[unix.Errno]virtionet.Drop{
		0: none, unix.EAGAIN: none, unix.EINTR: none,
		unix.ENOBUFS: virtionet.DropNoRoom, unix.ENOMEM: virtionet.DropNoRoom, unix.EMSGSIZE: virtionet.DropTooLong,
		unix.EINVAL: virtionet.DropBadHeader, unix.EPERM: virtionet.DropFault,
		unix.ENETDOWN: virtionet.DropLinkDown, unix.EIO: virtionet.DropLinkDown, unix.ENXIO: virtionet.DropLinkDown,
	} {
		for _, unfinished := range []bool{false, true} {
			k := &kernel{writes: []played{{n: 3, errno: errno}}}
			q, c := k.queue(t)
			b := toSend(t, 8, unfinished)()
			done := q.Transmit(b, 0, 8)
			counters := q.Counters()
			if drop == none {
				if done != 3 || counters.Dropped() != 0 {
					t.Errorf("%v: %d done, drops %v", errno, done, counters.Drops)
				}
				done += q.Transmit(b, done, 8)
			}
			lost := uint64(0)
			switch {
			case drop == virtionet.DropLinkDown:
				if !c.Down() {
					t.Errorf("%v: it is not down", errno)
				}
				lost = counters.Drops[drop]
			case drop != none:
				if lost = 1; counters.Drops[drop] != 1 || c.Down() {
					t.Errorf("%v: drops %v, down %v", errno, counters.Drops, c.Down())
				}
			}
			if done != 8 || counters.TxPackets != uint64(len(k.written)) || counters.TxPackets+lost != 8 || counters.Dropped() != lost {
				t.Errorf("%v, unfinished %v: %d done, %d sent, %d written, drops %v", errno, unfinished, done, counters.TxPackets, len(k.written), counters.Drops)
			}
		}
	}
}

// toSend is a burst of n frames, whose checksums are left undone if that is wanted.
func toSend(t testing.TB, n int, unfinished bool) (again func() *virtionet.Burst) {
	t.Helper()
	shape := packettest.Shapes(t, 200)[0]
	return burst(t, n, func(i int) arrival {
		if unfinished {
			return arrival{raw(nettest.CsumHeader(shape)), shape.Unfinished(), len(shape.Frame)}
		}
		return arrival{data: plain(200, i), n: 200}
	})
}

// burst is one of n frames, which a queue pair of their own receives again and again.
func burst(t testing.TB, n int, frame func(i int) arrival) (again func() *virtionet.Burst) {
	t.Helper()
	k := &kernel{leaves: nettest.AllOffloads, reads: make([]played, 1)}
	for i := range n {
		k.reads[0].frames = append(k.reads[0].frames, frame(i))
	}
	q, _ := k.queue(t)
	b := &virtionet.Burst{}
	return func() *virtionet.Burst {
		if q.Receive(b); b.Len() != n {
			t.Fatalf("a burst of %d frames", b.Len())
		}
		return b
	}
}

// inParts sends a burst 500 times through a queue pair whose kernel says whatever it likes to whatever part of it, and
// has each one checked.
func inParts(t *testing.T, again func() *virtionet.Burst, check func(k *kernel, c *virtionet.Counters)) {
	errnos := []unix.Errno{0, unix.EAGAIN, unix.ENOBUFS, unix.EMSGSIZE, unix.EINVAL, unix.EPERM, unix.EIO}
	r := rand.New(rand.NewPCG(1, 2))
	k := &kernel{}
	q, c := k.queue(t)
	for range 500 {
		b := again()
		n := b.Len()
		*q.Counters() = virtionet.Counters{}
		k.writes, k.written = nil, nil
		for done := 0; done < n; {
			for range 4 {
				k.writes = append(k.writes, played{n: r.IntN(20), errno: errnos[r.IntN(len(errnos))]})
			}
			end := done + 1 + r.IntN(n-done)
			got := q.Transmit(b, done, end)
			if got < 0 || got > end-done {
				t.Fatalf("%d of %d frames are done", got, end-done)
			}
			done += got
			works(c)
		}
		check(k, q.Counters())
	}
}

// Each frame is written once and in order, or counted.
func TestWritesInParts(t *testing.T) {
	const n = 60
	inParts(t, toSend(t, n, false), func(k *kernel, c *virtionet.Counters) {
		at := 0
		for _, w := range k.written {
			for at < n && !bytes.Equal(w.data, plain(200, at)) {
				at++
			}
			if at++; at > n {
				t.Fatal("a frame is written twice, or after a later one")
			}
		}
		if c.TxPackets != uint64(len(k.written)) || c.TxBytes != 200*c.TxPackets || c.TxPackets+c.Dropped() != n {
			t.Fatalf("%d of %d written, counted %+v", len(k.written), n, c)
		}
	})
}

// And so is each piece of a frame that has to be cut.
func TestWritesOfPieces(t *testing.T) {
	const n, pieces = 20, 3
	for _, s := range packettest.Shapes(t, pieces*1000) {
		if s.Layout.Protocol != packet.TCP {
			continue
		}
		cut := burst(t, n, func(i int) arrival {
			return arrival{raw(nettest.GSOHeader(s, 1000)), s.Unfinished(), len(s.Frame)}
		})
		inParts(t, cut, func(k *kernel, c *virtionet.Counters) {
			if c.TxPackets != uint64(len(k.written)) || c.TxPackets+c.Dropped() != n*pieces {
				t.Fatalf("%d of %d pieces written, counted %+v", len(k.written), n*pieces, c)
			}
		})
	}
}

// However many pieces a guest wants its frames to be cut into, a call writes a bounded number of them. A burst of the largest frames as
// guests send them takes no more calls than a switch makes.
func TestPiecesOfACallAreBounded(t *testing.T) {
	const n, long = virtionet.MaxBurst, 60000
	s := packettest.Shapes(t, long)[0]
	for _, c := range []struct{ size, atOnce, calls int }{{32, 1024 + long/32, n}, {1448, 1024 + long/1448, 4}} {
		b := burst(t, n, func(int) arrival { return arrival{raw(nettest.GSOHeader(s, c.size)), s.Unfinished(), len(s.Frame)} })()
		k := &kernel{}
		q, _ := k.queue(t)
		calls := 0
		for done := 0; done < n; calls++ {
			k.written = nil
			got := q.Transmit(b, done, n)
			if got == 0 || len(k.written) > c.atOnce {
				t.Fatalf("segments of %d bytes: %d frames in %d pieces at once, want at most %d", c.size, got, len(k.written), c.atOnce)
			}
			done += got
		}
		pieces := uint64((long + c.size - 1) / c.size)
		if counters := q.Counters(); calls > c.calls || counters.TxPackets != n*pieces || counters.Dropped() != 0 {
			t.Errorf("segments of %d bytes: %d calls, %d sent, drops %v", c.size, calls, counters.TxPackets, counters.Drops)
		}
	}
}
