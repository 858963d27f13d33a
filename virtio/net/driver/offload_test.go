package driver

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// nicReceiver is a NIC with rings of n entries.
func nicReceiver(t *testing.T, features virtio.Features, n, mtu int) nettest.Receiver {
	r := newNICRig(t, rigFeatures|features, n, mtu)
	take := func() (headers []virtionet.Header, frames [][]byte) {
		r.devTx.ResetViews()
		r.devTx.Available()
		var c vring.Chain
		for r.devTx.Pop(&c) {
			b := vringtest.Join(c.Read)
			headers, frames = append(headers, nettest.ParseHeader(b)), append(frames, b[virtionet.HeaderLen:])
			r.devTx.Push(c.Head, 0)
		}
		r.devTx.Publish()
		return headers, frames
	}
	return nettest.Receiver{Name: fmt.Sprintf("NIC, %v, %d entries", features, n), Port: r.Port, Take: take}
}

func TestLargeSegmentsPass(t *testing.T) {
	for _, r := range []nettest.Receiver{
		nicReceiver(t, virtio.NetOffloads, 64, 0),
		nicReceiver(t, virtio.NetOffloads, 256, 9000),
		nicReceiver(t, virtio.NetOffloads, 16, 65535),
	} {
		nettest.LargeSegmentsPass(t, r)
	}
}

func TestLargeSegmentsAreCut(t *testing.T) {
	for _, r := range []nettest.Receiver{
		nicReceiver(t, 0, 4, 0),
		nicReceiver(t, 0, 256, 9000),
		nicReceiver(t, virtio.NetCsum, 16, 0),
		nicReceiver(t, virtio.NetOffloads, 16, 0), // whose ring is too small for the longest
	} {
		nettest.LargeSegmentsAreCut(t, r)
	}
}

func TestChecksumsAreCompletedOrPass(t *testing.T) {
	nettest.ChecksumsAreCompletedOrPass(t, nicReceiver(t, 0, 4, 0))
	nettest.ChecksumsAreCompletedOrPass(t, nicReceiver(t, virtio.NetCsum, 4, 0))
}

// A device is not told that a checksum is right.
func TestValidDataAreNotSaidToBe(t *testing.T) {
	nettest.ValidDataAreSaidToBe(t, nicReceiver(t, virtio.NetOffloads, 64, 0), 0)
}

func TestPiecesAboveTheMTUAreDropped(t *testing.T) {
	nettest.PiecesAboveTheMTUAreDropped(t, nicReceiver(t, virtio.NetOffloads, 64, 0))
	nettest.PiecesAboveTheMTUAreDropped(t, nicReceiver(t, 0, 64, 0))
}

// A NIC's device may merge segments and vouch for checksums; its lies are dropped too.
func TestNICReadsHeaders(t *testing.T) {
	const features = rigFeatures | virtio.NetOffloads
	s := packettest.Shapes(t, 60000)[0]
	r := newNICRig(t, features, 64, 0)
	h := nettest.GSOHeader(s, 1448)
	h.NumBuffers = uint16((virtionet.HeaderLen + len(s.Frame) + smallBuffer - 1) / smallBuffer)
	var raw [virtionet.HeaderLen]byte
	h.Put(&raw)
	var pieces [][]byte
	for rest := append(raw[:], s.Unfinished()...); len(rest) > 0; rest = rest[min(len(rest), smallBuffer):] {
		pieces = append(pieces, rest[:min(len(rest), smallBuffer)])
	}
	r.arrive(t, pieces...)
	valid := withHeader(1, nettest.Payload(60, 1))
	valid[0] = virtionet.FlagDataValid
	r.arrive(t, valid)
	bad := withHeader(1, nettest.Payload(60, 2))
	bad[1] = virtionet.GSOTCPv4
	r.arrive(t, bad)
	r.arrive(t, withHeader(1, nettest.Payload(60, 3)))
	var frames [8]virtionet.Frame
	n := r.rxFrames(frames[:])
	if c := r.Counters(); n != 3 || c.Drops[virtionet.DropBadHeader] != 1 {
		t.Fatalf("%d frames, drops %v", n, c.Drops)
	}
	h.NumBuffers = 0
	for i, want := range []struct {
		header virtionet.Header
		data   []byte
	}{{h, s.Unfinished()}, {virtionet.Header{Flags: virtionet.FlagDataValid}, nettest.Payload(60, 1)}, {virtionet.Header{}, nettest.Payload(60, 3)}} {
		if frames[i].Header != want.header || !bytes.Equal(vringtest.Join(frames[i].Data), want.data) {
			t.Errorf("frame %d has header %+v, want %+v, or its data differ", i, frames[i].Header, want.header)
		}
	}
	r.release(3)
	if r.devRx.Available(); r.devRx.Pending() != 64 {
		t.Errorf("the device holds %d receive buffers, want all 64", r.devRx.Pending())
	}
}

func TestNICWantsOffloadsThatItCanUse(t *testing.T) {
	const (
		guestTSO = virtio.NetGuestTSO4 | virtio.NetGuestTSO6 | virtio.NetGuestECN
		guestUSO = virtio.NetGuestUSO4 | virtio.NetGuestUSO6
		all      = virtio.NetOffloads | virtio.NetMrgRxbuf | virtio.Version1
	)
	for i, c := range []struct {
		offered virtio.Features
		rxSize  int
		want    virtio.Features
	}{
		{all, 256, virtio.NetOffloads},
		{all &^ virtio.NetMrgRxbuf, 256, virtio.NetOffloads &^ (guestTSO | guestUSO)},
		{all, 32, virtio.NetOffloads &^ (guestTSO | guestUSO)},
		{all, 64, virtio.NetOffloads},
		{all &^ virtio.NetGuestCsum, 256, virtio.NetOffloads &^ (virtio.NetGuestCsum | guestTSO | guestUSO)},
		{all &^ virtio.NetCsum, 256, virtio.NetGuestCsum | guestTSO | guestUSO},
		{virtio.NetMrgRxbuf | virtio.NetCsum | virtio.NetHostECN | virtio.NetGuestCsum | virtio.NetGuestECN, 256, virtio.NetCsum | virtio.NetGuestCsum},
		{virtio.Version1, 256, 0},
	} {
		if got := WantedOffloads(c.offered, c.rxSize); got != c.want {
			t.Errorf("case %d: %v, want %v", i, got, c.want)
		}
	}
}

// A large segment that a NIC's device has merged is plain, and goes out of another NIC as it is,
// in a chain of buffers; the buffers go back.
func TestLargeSegmentsArePlain(t *testing.T) {
	for _, packed := range []bool{false, true} {
		packedRings = packed
		to := nicReceiver(t, virtio.NetOffloads, 128, 0)
		from := newNICRig(t, rigFeatures|virtio.NetOffloads, 128, 0)
		packedRings = false
		shapes := packettest.Shapes(t, 60000)
		for _, s := range shapes {
			h := nettest.GSOHeader(s, 1400)
			h.NumBuffers = uint16((virtionet.HeaderLen + len(s.Frame) + smallBuffer - 1) / smallBuffer)
			var raw [virtionet.HeaderLen]byte
			h.Put(&raw)
			from.arrive(t, slices.Collect(slices.Chunk(append(raw[:], s.Unfinished()...), smallBuffer))...)
			from.arrive(t, withHeader(1, nettest.Payload(60, 1)))
			var b virtionet.Burst
			if !from.Receive(&b) || !b.Plain() || b.Len() != 2 {
				t.Fatalf("%s: %d frames, plain %v", s.Name, b.Len(), b.Plain())
			}
			if n := to.Port.(*Port).Transmit(&b, 0, 2); n != 2 {
				t.Fatalf("%s: %d frames sent", s.Name, n)
			}
			from.Release(&b, 0, 2)
			headers, frames := to.Take()
			if h.NumBuffers = 0; len(frames) != 2 || headers[0] != h || !bytes.Equal(frames[0], s.Unfinished()) || !bytes.Equal(frames[1], nettest.Payload(60, 1)) {
				t.Fatalf("%s: %d frames, headers %+v, want %+v first, or they differ", s.Name, len(frames), headers, h)
			}
			if from.devRx.Available(); from.devRx.Pending() != 128 {
				t.Fatalf("%s: the device has %d receive buffers, want all 128", s.Name, from.devRx.Pending())
			}
		}
		n := uint64(len(shapes))
		if c := from.Counters(); c.Plain != 2*n || c.RxPackets != 2*n {
			t.Errorf("counted %+v, want %d plain", c, 2*n)
		}
		if c := to.Port.Counters(); c.Offloaded != n || c.TxPackets != 2*n {
			t.Errorf("counted %+v, want %d offloaded", c, n)
		}
	}
}

// Where there is no wire behind the device, frames of any length go out, in small buffers: what there
// is of memory does not depend on the MTU.
func TestFramesOfAnyLength(t *testing.T) {
	sizes := map[int]int{}
	for _, mtu := range []int{0, 1400, 9000} {
		memory := &heapMemory{}
		p, err := New(Config{Name: "any", Features: rigFeatures, MTU: mtu, RxSize: 256, TxSize: 256, Jumbo: true, OnFail: func(ring string, err error) { t.Error(ring, err) }}, memory)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range memory.regions {
			sizes[mtu] += len(r.Mem)
		}
		for _, n := range []int{60, 1514, 2036, 2037, 9018, virtionet.MaxFrame} {
			if done := p.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(n, n))}); done != 1 {
				t.Fatalf("MTU %d: a frame of %d bytes is not sent", mtu, n)
			}
		}
		if c := p.Counters(); c.TxPackets != 6 || c.Dropped() != 0 {
			t.Errorf("MTU %d: counted %+v", mtu, c)
		}
	}
	if sizes[0] != sizes[9000] || sizes[0] != sizes[1400] {
		t.Errorf("memory by MTU: %v", sizes)
	}
}

// A device that completes no checksums, and takes frames of any length in small buffers, gets a frame that lacks one, too.
func TestUnfinishedFrameOfAnyLength(t *testing.T) {
	for _, packed := range []bool{false, true} {
		packedRings = packed
		from := newNICRig(t, rigFeatures|virtio.NetOffloads, 128, 0)
		packedRings = false
		to, err := New(Config{Name: "any", Features: rigFeatures, RxSize: 256, TxSize: 256, Jumbo: true, OnFail: func(ring string, err error) { t.Error(ring, err) }}, &heapMemory{})
		if err != nil {
			t.Fatal(err)
		}
		shapes := packettest.Shapes(t, 9000)
		for _, s := range shapes {
			h := nettest.CsumHeader(s)
			h.NumBuffers = uint16((virtionet.HeaderLen + len(s.Frame) + smallBuffer - 1) / smallBuffer)
			var raw [virtionet.HeaderLen]byte
			h.Put(&raw)
			from.arrive(t, slices.Collect(slices.Chunk(append(raw[:], s.Unfinished()...), smallBuffer))...)
			var b virtionet.Burst
			if !from.Receive(&b) || !b.Plain() || b.Len() != 1 {
				t.Fatalf("%s: %d frames, plain %v", s.Name, b.Len(), b.Plain())
			}
			if n := to.Transmit(&b, 0, 1); n != 1 {
				t.Fatalf("%s: the frame waits for ever", s.Name)
			}
			from.Release(&b, 0, 1)
		}
		n := uint64(len(shapes))
		if c := to.Counters(); c.TxPackets != n || c.Checksummed != n || c.Dropped() != 0 {
			t.Errorf("counted %+v, want %d frames that were completed", c, n)
		}
	}
}
