package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

const vnetHeader = 12

// guest is a front-end with a guest in it. It behaves unless a test reaches into
// its rings, its memory or its wire. One goroutine uses it.
type guest struct {
	*wire
	path     string
	ram      *ram
	rings    [2]*ring
	kicks    [2]int // eventfds
	calls    [2]int
	features virtio.Features
	buffers  [2]map[uint16]int // by head: the ring's buffers that the device has
}

const defaultFeatures = virtio.Version1 | virtio.NetMrgRxbuf | virtio.IndirectDesc | virtio.ProtocolFeatures

const protocolFeatures = vhostuser.ProtoReplyAck | vhostuser.ProtoConfigureMemSlots | vhostuser.ProtoStatus | vhostuser.ProtoResetDevice

// newGuest makes a guest that has not connected yet.
func newGuest(path string, features virtio.Features) (g *guest, err error) {
	g = &guest{path: path, features: features}
	for i := range g.kicks {
		g.kicks[i], g.calls[i] = -1, -1
	}
	if g.ram, err = newRAM(); err != nil {
		return nil, err
	}
	for i := range g.rings {
		g.rings[i] = &ring{ram: g.ram, index: i, place: i}
		g.buffers[i] = map[uint16]int{}
		for _, fd := range []*int{&g.kicks[i], &g.calls[i]} {
			if *fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
				return nil, errors.Join(err, g.leave())
			}
		}
	}
	if g.wire, err = dial(path); err != nil {
		return nil, errors.Join(err, g.leave())
	}
	return g, nil
}

// join connects a guest, starts its rings and fills its receive ring.
func join(t testing.TB, path string) *guest { return joinWith(t, path, defaultFeatures, true) }

// joinWith does so with some features, and without receive buffers if fill is not
// set.
func joinWith(t testing.TB, path string, features virtio.Features, fill bool) *guest {
	t.Helper()
	g, err := newGuest(path, features)
	if err != nil {
		t.Fatal(err)
	}
	if fill {
		g.fill()
	}
	if err := g.start(); err != nil {
		g.leave()
		t.Fatalf("start at %s: %v", path, err)
	}
	return g
}

// leave ends the front-end as a crash does.
func (g *guest) leave() error {
	if g.wire != nil {
		g.close()
	}
	for i := range g.kicks {
		for _, fd := range []int{g.kicks[i], g.calls[i]} {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}
	return g.ram.close()
}

// message is one step of a script.
type message struct {
	request vhostuser.Request
	payload vhostuser.Payload
	fds     []int
}

// script is all that a front-end says until its rings run.
func (g *guest) script() []message {
	s := []message{
		{request: vhostuser.GetFeatures},
		{request: vhostuser.GetProtocolFeatures},
		{request: vhostuser.SetProtocolFeatures, payload: vhostuser.U64(protocolFeatures)},
		{request: vhostuser.SetOwner},
		{request: vhostuser.SetFeatures, payload: vhostuser.U64(g.features)},
		{request: vhostuser.SetMemTable, payload: regions, fds: g.ram.files()},
	}
	for i := range g.rings {
		s = append(s, g.ringScript(i)...)
	}
	return s
}

// ringScript starts one ring.
func (g *guest) ringScript(i int) []message {
	index := uint32(i)
	return []message{
		{request: vhostuser.SetVringNum, payload: vhostuser.VringState{Index: index, Num: ringEntries}},
		{request: vhostuser.SetVringBase, payload: vhostuser.VringState{Index: index}},
		{request: vhostuser.SetVringAddr, payload: g.rings[i].address()},
		{request: vhostuser.SetVringKick, payload: vhostuser.VringFD{Index: uint8(i)}, fds: g.kicks[i : i+1]},
		{request: vhostuser.SetVringCall, payload: vhostuser.VringFD{Index: uint8(i)}, fds: g.calls[i : i+1]},
		{request: vhostuser.SetVringEnable, payload: vhostuser.VringState{Index: index, Num: 1}},
	}
}

// play sends messages, and reads the answers of those that have one.
func (g *guest) play(script []message) error {
	for _, m := range script {
		if m.request.HasReply() {
			if _, err := g.ask(m.request, m.payload); err != nil {
				return err
			}
		} else if err := g.say(m.request, m.payload, m.fds...); err != nil {
			return fmt.Errorf("%v: %w", m.request, err)
		}
	}
	return nil
}

// start runs the whole script and waits until it has been carried out.
func (g *guest) start() error {
	if err := g.play(g.script()); err != nil {
		return err
	}
	return g.barrier()
}

// barrier waits until everything said so far has been carried out.
func (g *guest) barrier() error {
	_, err := g.ask(vhostuser.GetFeatures, nil)
	return err
}

// stop stops a ring and returns where the device says that it stood.
func (g *guest) stop(i int) (uint16, error) {
	b, err := g.ask(vhostuser.GetVringBase, vhostuser.VringState{Index: uint32(i)})
	if err != nil {
		return 0, err
	}
	var v vhostuser.VringState
	if err := v.Decode(b); err != nil {
		return 0, err
	}
	return uint16(v.Num), nil
}

// restart stops a ring and starts it again at its first place, as a guest does that
// resets its device.
func (g *guest) restart(i int, fill bool) error {
	if _, err := g.stop(i); err != nil {
		return err
	}
	g.rings[i].place = i
	g.rings[i].clear()
	clear(g.buffers[i])
	if fill && i == receiveRing {
		g.fill()
	}
	if err := g.play(g.ringScript(i)); err != nil {
		return err
	}
	return g.barrier()
}

// kick tells the device to look at a ring, whether or not it wants to know.
func (g *guest) kick(i int) { unix.Write(g.kicks[i], []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// fill offers all receive buffers.
func (g *guest) fill() {
	for k := range ringEntries {
		g.offerBuffer(k)
	}
}

func (g *guest) offerBuffer(k int) {
	r := g.rings[receiveRing]
	r.set(k, desc{Addr: r.buffer(k), Len: bufferBytes, Flags: vring.DescWrite})
	g.buffers[receiveRing][uint16(k)] = k
	r.offer(uint16(k))
}

// errFull says that the device holds every buffer of a ring.
var errFull = errors.New("the device holds all transmit buffers")

// send puts a frame into the transmit ring.
func (g *guest) send(frame []byte) error {
	return g.sendImage(append(make([]byte, vnetHeader), frame...))
}

// sendImage puts a virtio-net header and a frame into the transmit ring.
func (g *guest) sendImage(image []byte) error {
	return g.sendBuffer(len(image), func(b []byte) { copy(b, image) })
}

// sendBuffer puts n bytes into the transmit ring, header included, as fill leaves them.
func (g *guest) sendBuffer(n int, fill func(b []byte)) error {
	r := g.rings[transmitRing]
	for {
		id, _, ok := r.done()
		if !ok {
			break
		}
		delete(g.buffers[transmitRing], id)
	}
	for k := range ringEntries {
		if _, busy := g.buffers[transmitRing][uint16(k)]; busy {
			continue
		}
		fill(g.ram.at(r.buffer(k), n))
		r.set(k, desc{Addr: r.buffer(k), Len: uint32(n)})
		g.buffers[transmitRing][uint16(k)] = k
		r.offer(uint16(k))
		g.kick(transmitRing)
		return nil
	}
	return errFull
}

// sendWithin sends a frame as soon as there is a buffer for it.
func (g *guest) sendWithin(within time.Duration, frame []byte) error {
	for deadline := time.Now().Add(within); ; g.doze(transmitRing) {
		if err := g.send(frame); err != errFull || time.Now().After(deadline) {
			return err
		}
	}
}

// receive takes the next frame that has arrived, if there is one, and offers its
// buffer again.
func (g *guest) receive() (frame []byte, err error) {
	image, err := g.receiveImage()
	if image == nil || err != nil {
		return nil, err
	}
	return image[vnetHeader:], nil
}

// receiveImage is receive with the virtio-net header.
func (g *guest) receiveImage() (image []byte, err error) {
	r := g.rings[receiveRing]
	id, n, ok := r.done()
	if !ok {
		return nil, nil
	}
	k, known := g.buffers[receiveRing][id]
	if !known || n < vnetHeader || n > bufferBytes {
		return nil, fmt.Errorf("the device used buffer %d with %d bytes", id, n)
	}
	image = bytes.Clone(g.ram.at(r.buffer(k), int(n)))
	g.offerBuffer(k)
	g.kick(receiveRing)
	return image, nil
}

// drain receives all that has arrived.
func (g *guest) drain() error {
	for {
		if frame, err := g.receive(); frame == nil || err != nil {
			return err
		}
	}
}

// awaitFrame receives until a frame satisfies want.
func (g *guest) awaitFrame(within time.Duration, want func([]byte) bool) ([]byte, error) {
	for deadline := time.Now().Add(within); ; {
		frame, err := g.receive()
		switch {
		case err != nil:
			return nil, err
		case frame != nil && want(frame):
			return frame, nil
		case frame == nil && time.Now().After(deadline):
			return nil, fmt.Errorf("no frame arrived at %s within %v", g.path, within)
		case frame == nil:
			g.doze(receiveRing)
		}
	}
}

// doze waits for an interrupt of a ring, or a little.
func (g *guest) doze(i int) {
	const little = 10 // milliseconds
	unix.Poll([]unix.PollFd{{Fd: int32(g.calls[i]), Events: unix.POLLIN}}, little)
	var b [8]byte
	unix.Read(g.calls[i], b[:])
}

// testFrame is a frame that tells of itself: number, then bytes that follow from
// it.
func testFrame(number uint64, size int) []byte {
	b := make([]byte, size)
	copy(b, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x88\xb5")
	binary.LittleEndian.PutUint64(b[14:], number)
	for i := 22; i < size; i++ {
		b[i] = byte(number) + byte(i)
	}
	return b
}

// serial numbers the frames of exchange, so that none is taken for another.
var serial uint64 = 1 << 32

// carry sends frames from one guest to the other and compares what arrives. What
// is on its way from before is passed over.
func carry(from, to *guest) error { return carryWithin(from, to, patience) }

func carryWithin(from, to *guest, within time.Duration) error {
	for i := range 5 {
		serial++
		want := testFrame(serial, 60+i*290)
		err := from.send(want)
		for deadline := time.Now().Add(within); err == errFull && time.Now().Before(deadline); err = from.send(want) {
			if err := to.drain(); err != nil { // what is on its way may stand in the way
				return err
			}
			from.doze(transmitRing)
		}
		if err != nil {
			return err
		}
		got, err := to.awaitFrame(within, func(f []byte) bool {
			return len(f) >= 22 && binary.LittleEndian.Uint64(f[14:]) == serial
		})
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("a frame of %d bytes arrived as %d other ones", len(want), len(got))
		}
	}
	return nil
}

// exchange carries frames both ways.
func exchange(t testing.TB, a, b *guest) {
	t.Helper()
	if err := carry(a, b); err != nil {
		t.Fatalf("%s to %s: %v", a.path, b.path, err)
	}
	if err := carry(b, a); err != nil {
		t.Fatalf("%s to %s: %v", b.path, a.path, err)
	}
}
