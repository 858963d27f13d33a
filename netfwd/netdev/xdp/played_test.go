package xdp

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// played is a socket whose kernel is the test: it has the other ends of the rings.
type played struct {
	*Queue
	fillEnd input[uint64]
	rxEnd   output[desc]
	txEnd   input[desc]
	doneEnd output[uint64]

	sends, receives int
	answers         []unix.Errno // to the next calls to send; then 0
	onSend          func()
	condition       netdev.Condition
}

func (p *played) wakeSend(int) unix.Errno {
	p.sends++
	if p.onSend != nil {
		p.onSend()
	}
	if len(p.answers) == 0 {
		return 0
	}
	answer := p.answers[0]
	p.answers = p.answers[1:]
	return answer
}

func (p *played) wakeReceive(int) unix.Errno {
	p.receives++
	return 0
}

// ringMemory is a ring on Go's heap, so that the race detector sees what goes on in it.
func ringMemory[E entry](t testing.TB, size uint32) shared[E] {
	t.Helper()
	at := unix.XDPRingOffset{Producer: 0, Consumer: 64, Flags: 128, Desc: 192}
	words := make([]uint64, (192+int(size)*entryBytes[E]())/8)
	s, err := newShared[E](bytesOf(words), at, size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// play makes a socket with these properties, all chunks to receive into being the kernel's.
func play(t testing.TB, p properties) *played {
	t.Helper()
	umem, err := unix.Mmap(-1, 0, layout{p.Chunk}.bytes(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	fill, rx := ringMemory[uint64](t, fillSize), ringMemory[desc](t, rxSize)
	tx, done := ringMemory[desc](t, txSize), ringMemory[uint64](t, doneSize)
	for first, i := newOutput(fill), uint64(0); i < rxChunks; i++ {
		first.put(i * uint64(p.Chunk))
		first.publish()
	}
	atomic.StoreUint32(tx.flags, unix.XDP_RING_NEED_WAKEUP)
	s := newSocket(umem, fill, rx, tx, done, p)
	s.fd = event
	k := &played{fillEnd: newInput(fill), rxEnd: newOutput(rx), txEnd: newInput(tx), doneEnd: newOutput(done)}
	s.kernel = k
	k.condition.Set(netdev.State{Up: true, Runs: true, MTU: 9000})
	if k.Queue, err = newQueue("played", &k.condition, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// arrive puts a frame into chunks that the fill ring has, up to so many bytes into each, as the kernel
// does.
func (p *played) arrive(t testing.TB, frame []byte, each int) {
	t.Helper()
	for len(frame) > 0 {
		if p.fillEnd.ready() == 0 {
			t.Fatal("no chunk is free")
		}
		at := p.fillEnd.get(0) + headroom
		p.fillEnd.take(1)
		n := copy(view(p.receiver.base+at, uint32(each)), frame)
		d := desc{addr: at, n: uint32(n)}
		if frame = frame[n:]; len(frame) > 0 {
			d.options = optionContinued
		}
		p.rxEnd.put(d)
	}
	p.rxEnd.publish()
}

// sent takes what was given to the kernel, and completes it.
func (p *played) sent(t testing.TB) (frames [][]byte, said []desc) {
	t.Helper()
	var frame []byte
	for n := p.txEnd.ready(); n > 0; n-- {
		d := p.txEnd.get(0)
		p.txEnd.take(1)
		if d.addr < p.receiver.rxEnd() || p.transmitter.sentChunk(d.addr) >= txChunks || p.receiver.first(d.addr) != p.receiver.first(d.addr+uint64(d.n)-1) {
			t.Fatalf("%d bytes at %#x are to be sent", d.n, d.addr)
		}
		frame = append(frame, view(p.receiver.base+d.addr, d.n)...)
		said = append(said, d)
		if d.options&optionContinued == 0 {
			frames, frame = append(frames, frame), nil
		}
		p.doneEnd.put(d.addr)
	}
	p.doneEnd.publish()
	return frames, said
}

// content is what the frames of a burst have.
func content(b *virtionet.Burst) (frames [][]byte) {
	for _, f := range b.Frames(0, b.Len()) {
		var one []byte
		for _, v := range f.Data {
			one = append(one, v...)
		}
		frames = append(frames, one)
	}
	return frames
}
