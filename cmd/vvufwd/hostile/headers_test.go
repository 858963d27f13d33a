package hostile

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"vvufwd/virtio"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

const offloadFeatures = defaultFeatures | virtio.NetOffloads

// Parts of the virtio-net header.
const (
	needsCsum = 1
	gsoTCP4   = 1
	gsoTCP6   = 4
	gsoUDP    = 5
	gsoECN    = 0x80
)

// vnet is a virtio-net header.
func vnet(flags, gso uint8, hdrLen, size, start, offset uint16) []byte {
	b := []byte{flags, gso}
	for _, v := range []uint16{hdrLen, size, start, offset, 0} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

// headerAttacks are virtio-net headers with frames that they lie about, among some that
// do not.
func headerAttacks(t *testing.T) (images [][]byte) {
	frames := [][]byte{testFrame(0, 60)[:14], testFrame(1, 60)}
	var starts = []uint16{0, 1, 6, 13, 14, 20, 33, 255, 256, 0x7fff, 0xfffe, 0xffff}
	for _, s := range packettest.Shapes(t, 3000) {
		frames = append(frames, s.Unfinished(), s.Unfinished()[:s.Layout.End], s.Unfinished()[:s.Layout.End-1])
		l4, field := s.Layout.L4, s.Layout.ChecksumOffset()
		for gso := range 256 {
			images = append(images, append(vnet(needsCsum, uint8(gso), s.Layout.End, 1000, l4, field), s.Unfinished()...))
		}
		for flags := range 256 {
			images = append(images, append(vnet(uint8(flags), gsoTCP4, s.Layout.End, 1000, l4, field), s.Unfinished()...))
		}
		for _, size := range []uint16{0, 1, 2, 2999, 3000, 0xffff} {
			for _, gso := range []uint8{gsoTCP4, gsoTCP6, gsoUDP, gsoTCP4 | gsoECN, gsoTCP6 | gsoECN} {
				images = append(images, append(vnet(needsCsum, gso, 0xffff, size, l4, field), s.Unfinished()...))
			}
		}
		starts = append(starts, l4-1, l4, l4+1, s.Layout.End)
	}
	for _, frame := range frames {
		for _, start := range starts {
			for _, offset := range []uint16{0, 1, 6, 16, 17, 0x7fff, 0xfffe, 0xffff} {
				for _, gso := range []uint8{0, gsoTCP4, gsoUDP} {
					images = append(images, append(vnet(needsCsum, gso, 0, 1000, start, offset), frame...))
				}
			}
		}
	}
	return images
}

// sound checks what arrived against what its receiver negotiated: no header may claim
// what the frame does not bear out.
func sound(image []byte, features virtio.Features) error {
	flags, gso := image[0], image[1]
	le := binary.LittleEndian.Uint16
	size, start, offset, frame := le(image[4:]), le(image[6:]), le(image[8:]), image[vnetHeader:]
	bad := func(what string) error {
		return fmt.Errorf("%s: header % x before % x", what, image[:vnetHeader], frame[:min(len(frame), 100)])
	}
	if flags|gso != 0 && !features.Has(virtio.NetGuestCsum) {
		return bad("offloads without negotiation")
	}
	if flags&^needsCsum != 0 || flags == 0 && (gso != 0 || size|start|offset != 0) {
		return bad("no guest can say that")
	}
	l := packet.Parse(frame[:min(len(frame), packet.MaxHead)])
	if flags != 0 && (start < l.L4 || int(start)+int(offset)+2 > len(frame)) {
		return bad("checksum outside its packet")
	}
	if flags != 0 && start == l.L4 && l.Protocol != 0 && offset != l.ChecksumOffset() {
		return bad("checksum in another field")
	}
	if gso == 0 {
		return nil
	}
	protocol, known := map[uint8]uint8{gsoTCP4: packet.TCP, gsoTCP6: packet.TCP, gsoUDP: packet.UDP}[gso&^gsoECN]
	if !known || l.Protocol != protocol || gso&^gsoECN == gsoTCP6 && !l.IPv6 || gso&^gsoECN == gsoTCP4 && l.IPv6 || gso == gsoUDP|gsoECN ||
		start != l.L4 || size == 0 || len(frame)-int(l.End) <= int(size) || le(image[2:]) != l.End {
		return bad("segmentation of something else")
	}
	return nil
}

// takeSound takes all that has arrived and checks it. It returns how many frames that
// were.
func (g *guest) takeSound() (n int, err error) {
	for ; ; n++ {
		image, err := g.receiveImage()
		if image == nil || err != nil {
			return n, err
		}
		if err := sound(image, g.features); err != nil {
			return n, err
		}
	}
}

// Headers that lie cost their frames. Nothing of them gets to the partner, whatever it
// negotiated, and no ring stops. The partner comes back with other features under fire.
func TestLyingHeaders(t *testing.T) {
	f := startForwarder(t, 4, "--log-level=debug")
	startVictim(t, f, 2, 3, gentle...)
	a := joinWith(t, f.sockets[0], offloadFeatures, true)
	defer a.leave()
	images := headerAttacks(t)
	sent := uint64(0)
	for _, features := range []virtio.Features{offloadFeatures, defaultFeatures, defaultFeatures | virtio.NetGuestCsum, offloadFeatures} {
		b := joinWith(t, f.sockets[1], features, true)
		arrived := 0
		for _, image := range images {
			for err := a.sendImage(image); err != nil; err = a.sendImage(image) {
				if err != errFull {
					t.Fatal(err)
				}
				n, err := b.takeSound()
				if arrived += n; err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					a.doze(transmitRing)
				}
			}
			sent++
		}
		eventually(t, "every frame is counted, as received or as dropped", func() bool {
			n, err := b.takeSound()
			if arrived += n; err != nil {
				t.Fatal(err)
			}
			p := f.stats.port(a.path)
			return p.RxPackets+p.Drops["bad_header"] == sent
		})
		if arrived < 1000 {
			t.Errorf("of %d frames only %d arrived: the good ones should", len(images), arrived)
		}
		sent += 5 // those of carry
		exchange(t, a, b)
		b.leave()
	}
	if n := f.stats.port(a.path).Drops["bad_header"]; n < sent/2 {
		t.Errorf("%d of %d frames were dropped for their header", n, sent)
	}
	unbroken(t, f, a)
}

// Headers of both kinds that change between check and use. What arrives is sound all
// the same: it is what was checked.
func TestRacingHeaders(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	a := joinWith(t, f.sockets[0], offloadFeatures, true)
	defer a.leave()
	b := joinWith(t, f.sockets[1], offloadFeatures, true)
	defer b.leave()
	var images [][]byte
	for _, s := range packettest.Shapes(t, 3000) {
		gso := uint8(gsoUDP)
		if s.Layout.Protocol == packet.TCP {
			gso = map[bool]uint8{false: gsoTCP4, true: gsoTCP6}[s.Layout.IPv6]
		}
		images = append(images, append(vnet(needsCsum, gso, 0, 1000, s.Layout.L4, s.Layout.ChecksumOffset()), s.Unfinished()[:3000]...))
	}
	images = append(images, make([]byte, len(images[0])))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		flipHeads(a, images, &stop)
	}()
	arrived, dropped := 0, uint64(0)
	least := time.Now().Add(time.Duration(cycles(t, 500, 10000)) * time.Millisecond)
	for last := least.Add(patience); time.Now().Before(last) && (time.Now().Before(least) || arrived == 0 || dropped == 0); {
		err := a.sendBuffer(len(images[0]), func([]byte) {}) // flipHeads does
		if err != nil && err != errFull {
			t.Error(err)
			break
		}
		n, err := b.takeSound()
		if arrived += n; err != nil {
			t.Error(err)
			break
		}
		dropped = f.stats.port(a.path).Drops["bad_header"]
	}
	stop.Store(true)
	<-done
	t.Logf("%d frames arrived, %d were dropped", arrived, dropped)
	if arrived == 0 || dropped == 0 {
		t.Error("there was no race")
	}
	unbroken(t, f, a)
}

// flipHeads writes the first bytes of a random one of the images into the guest's
// transmit buffers, again and again.
func flipHeads(g *guest, images [][]byte, stop *atomic.Bool) {
	const n = 128 / 8
	rnd := rand.New(rand.NewPCG(1, 2))
	r := g.rings[transmitRing]
	for !stop.Load() {
		for k := range ringEntries {
			words := unsafe.Slice((*uint64)(unsafe.Pointer(&g.ram.at(r.buffer(k), 8*n)[0])), n)
			image := images[rnd.IntN(len(images))]
			for i := range words {
				atomic.StoreUint64(&words[i], binary.LittleEndian.Uint64(image[8*i:]))
			}
		}
	}
}
