package intel

import (
	"encoding/binary"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/nic/intel/inteltest"
	"vvufwd/vfio/mmio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// bareQueue is a queue without a chip: the test writes the descriptors.
func bareQueue(t testing.TB, format Format) *Queue {
	t.Helper()
	window := mmio.NewWindow(make([]byte, 64))
	part := func(off uint64) mmio.Space {
		s, err := mmio.Sub(window, off, 4)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	q, err := NewQueue(QueueConfig{
		Name: "bare", Memory: &inteltest.Memory{}, Size: minRing, Format: format, MTU: MTU,
		RxTail: part(0), TxTail: part(4),
		Interrupts: Interrupts{Registers: window, Set: 8, Clear: 12, Cause: 16, Rx: 1, Tx: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	q.Start()
	return q
}

// FuzzReceive has a chip write anything into any receive descriptor at any time. Frames must be
// such that a forwarder can rely on, and no buffer may get lost.
func FuzzReceive(f *testing.F) {
	word := func(words ...uint64) (b []byte) {
		for _, w := range words {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		return b
	}
	f.Add(word(rxPlain|60<<rxLenShift, 1<<60, rxPlain|0xffff<<rxLenShift, 2<<60, rxDone|2048<<rxLenShift, rxPlain|100<<rxLenShift, 1<<60, 3<<60))
	f.Add(word(rxDone|2048<<rxLenShift, 1<<60, rxDone|2048<<rxLenShift, rxDone|2048<<rxLenShift, rxDone|2048<<rxLenShift, rxDone|2048<<rxLenShift, 1<<60, 2<<60))
	f.Add(word(rxPlain|rxTagged|60<<rxLenShift|5<<rxVLANShift, 1<<60, ^uint64(0), 4<<60|7, 1<<60))
	f.Fuzz(func(t *testing.T, input []byte) {
		q := bareQueue(t, Advanced)
		r := &q.rx
		var b virtionet.Burst
		head := uint32(0)
		receive := func() {
			q.Receive(&b)
			n := b.Len()
			if b.Plain() {
				for _, op := range b.Ops[:n] {
					if off := op.Src - r.buffers.base; op.N < virtionet.MinFrame || off%BufferSize != 0 || off/BufferSize >= uint64(r.size) || op.N > BufferSize {
						t.Fatalf("%d bytes at %#x of the buffers", op.N, off)
					}
				}
			} else {
				for _, f := range b.Frames(0, n) {
					total := 0
					for _, v := range f.Data {
						total += len(v)
					}
					if total != f.Len || total < virtionet.MinFrame || total > r.most+4 {
						t.Fatalf("a frame of %d bytes says that it has %d", total, f.Len)
					}
				}
			}
			q.Release(&b, 0, n/2)
			q.Release(&b, n/2, n)
			q.Notify()
		}
		for ; len(input) >= 8; input = input[8:] {
			w := binary.LittleEndian.Uint64(input)
			switch w >> 60 {
			case 1, 2:
				receive()
			case 3:
				q.Recover()
			case 4: // anywhere
				r.words[2*(w&uint64(r.ring.mask))+1] = w << 8
			default:
				r.words[2*(head&r.ring.mask)+1] = w
				head++
			}
			if held := r.next - r.back; held != 0 || r.told != r.back && r.back-r.told >= r.lot {
				t.Fatalf("%d buffers are held, and the chip was not told of %d", held, r.back-r.told)
			}
		}
		for i := range r.words { // and in the end it ends everything
			if i%2 == 1 {
				r.words[i] = rxPlain | 60<<rxLenShift
			}
		}
		for range 3 * r.size {
			receive()
		}
		if r.ready() {
			t.Fatal("something that has arrived stays for ever")
		}
	})
}

// TestTransmitContexts has a context where it is needed and only there, in both formats, as they lie in memory.
func TestTransmitContexts(t *testing.T) {
	tcp := headers{l3: 14, l4: 34, sum: 50, tcp: true, ipv4: true}
	cut := headers{l3: 18, l4: 58, end: 78, sum: 74, tcp: true, size: 1448, payload: 30000}
	for name, c := range map[string]struct {
		format Format
		h      headers
		want   txContext
	}{
		"82574, checksum": {Extended, tcp, txContext{34<<32 | 50<<40, 1<<29 | 1<<24}},
		"82574, segments": {Extended, cut, txContext{58<<32 | 74<<40 | 18 | 57<<16, 30000 | 1<<29 | 1<<24 | 1<<26 | 78<<40 | 1448<<48}},
		"82576, checksum": {Advanced, tcp, txContext{14<<9 | 20, 2<<20 | 1<<29 | 1<<10 | 1<<11}},
		"82576, segments": {Advanced, cut, txContext{18<<9 | 40, 2<<20 | 1<<29 | 1<<11 | 20<<40 | 1448<<48}},
	} {
		if got := c.format.context(&c.h); got != c.want {
			t.Errorf("%s: %#x, want %#x", name, got, c.want)
		}
	}
}

func TestRingSize(t *testing.T) {
	for n, want := range map[int]int{0: 64, 1: 64, 64: 64, 127: 64, 128: 128, 256: 256, 5000: 4096, 1 << 20: 4096} {
		if got := RingSize(n); got != want {
			t.Errorf("%d entries: %d, want %d", n, got, want)
		}
	}
}

// TestVoicesAreBounded has more stations than there are places.
func TestVoicesAreBounded(t *testing.T) {
	v := NewVoices(-1)
	frame := make([]byte, 64)
	for i := range 100000 {
		binary.LittleEndian.PutUint32(frame[6:], uint32(i)<<8|2)
		v.heard(frame)
	}
	if n := len(v.All(nil)); n == 0 || n > numVoices {
		t.Errorf("%d addresses are remembered", n)
	}
	v.Age()
	if len(v.All(nil)) == 0 {
		t.Error("forgotten too early")
	}
	v.Age()
	if n := len(v.All(nil)); n != 0 {
		t.Errorf("%d are remembered for ever", n)
	}
}

// TestVanishedPart: a frame whose end vanishes while it is copied has not happened, or of one that is cut here the pieces before. What
// is sent next goes out alone, and not as the end of what there was of it.
func TestVanishedPart(t *testing.T) {
	gone, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(gone)
	long := nettest.Payload(5000, 1)
	frames := []virtionet.Frame{nettest.Frame(long[:3000], long[3000:])}
	for _, s := range packettest.Shapes(t, 5000) {
		frames = append(frames, nettest.Unfinished(t, s, nettest.CsumHeader(s)), nettest.Unfinished(t, s, nettest.GSOHeader(s, 1400)))
	}
	for i, f := range frames {
		for _, format := range []Format{Extended, Advanced} {
			q := bareQueue(t, format)
			last := &f.Data[len(f.Data)-1]
			*last = gone[:len(*last)]
			func() {
				defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
				defer func() {
					if recover() == nil {
						t.Errorf("frame %d: memory that is not there was read", i)
					}
				}()
				q.Transmit(nettest.BurstOf(f), 0, 1)
			}()
			q.Recover()
			at := q.tx.next
			if at > 0 && (!f.Header.IsGSO() || q.tx.state(at-1)&txEnd == 0) {
				t.Errorf("frame %d, %v: %d descriptors of it are in the ring, the last is %#x", i, format, at, q.tx.state(at-1))
			}
			q.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(60, 1))), 0, 1)
			if w := q.tx.state(at); q.tx.next != at+1 || w&txEnd == 0 || w&0xffff != 60 {
				t.Errorf("frame %d, %v: after it come %d descriptors, the first is %#x", i, format, q.tx.next-at, w)
			}
		}
	}
}
