package suite

import (
	"bytes"
	"testing"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel/inteltest"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

func checksumsIn(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	for a, valid := range map[inteltest.Arrival]bool{{}: false, {SumsRight: true}: true, {SumsWrong: true}: false} {
		r := Open(t, kind, d)
		r.Receive(0, numbered(1, 100), a)
		if got := receive(r.queue()); len(got) != 1 || got[0].valid != valid {
			t.Errorf("%+v: said to be valid: %v", a, !valid)
		}
	}
}

// checksumsOut has the chip complete checksums of all kinds of frames on the short way and on the general
// one, with a context where one is needed and without where the last will do.
func checksumsOut(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	shapes := packettest.Shapes(t, 500)
	for range 20 {
		for _, shape := range shapes {
			list := []packettest.Shape{shape, shape, shapes[0]}
			if n := unfinished(t, r.queue(), list); n != len(list) {
				t.Fatalf("%s: %d of %d are taken", shape.Name, n, len(list))
			}
			for i, sent := range r.sent() {
				if !bytes.Equal(sent, list[i].Frame) {
					t.Fatalf("%s: frame %d on the short way is not what a stack would send", shape.Name, i)
				}
			}
			send(r.queue(), nettest.Unfinished(t, shape, nettest.CsumHeader(shape)))
			if sent := r.sent(); len(sent) != 1 || !bytes.Equal(sent[0], shape.Frame) {
				t.Fatalf("%s: the general way differs", shape.Name)
			}
		}
	}
	if c := r.queue().Counters(); c.Offloaded != uint64(r.Summed) || c.Checksummed != 0 || r.Summed != 20*4*len(shapes) {
		t.Errorf("the chip has completed %d, counted are %+v", r.Summed, c)
	}
}

// checksumsOfTwo has the chip complete checksums for two queues in turn, whose headers are not where the other's are.
func checksumsOfTwo(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	queues := r.Card.Queues()
	if len(queues) < 2 {
		return // chips of this kind have one
	}
	shapes := packettest.Shapes(t, 500)[:2]
	next := func(k int) []byte { // the next frame of a queue
		for r.Transmit(k, 1) == 1 {
			if sent := r.Wire(); len(sent) > 0 {
				return sent[0]
			}
		}
		return nil
	}
	for i := range 10 {
		for k, shape := range shapes {
			unfinished(t, queues[k], []packettest.Shape{shape, shape})
			if i%2 == 1 {
				send(queues[k], nettest.Unfinished(t, shape, nettest.CsumHeader(shape)))
			}
		}
		for range 2 + i%2 {
			for k, shape := range shapes {
				if !bytes.Equal(next(k), shape.Frame) {
					t.Fatalf("round %d: what queue %d sends is not what a stack would send", i, k)
				}
			}
		}
	}
}

// segments has the chip cut segments of TCP.
func segments(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	cut := 0
	for _, shape := range packettest.Shapes(t, 30000) {
		if shape.Layout.Protocol != packet.TCP {
			continue
		}
		const size = 1448
		for range 3 {
			h := nettest.GSOHeader(shape, size)
			h.GSOType &^= virtionet.GSOECN // which no chip knows
			send(r.queue(), nettest.Unfinished(t, shape, h))
			cut++
			checkSegments(t, r.sent(), shape, size)
		}
	}
	if c := r.queue().Counters(); r.Cut != cut || c.Offloaded != uint64(cut) || c.Segmented != 0 {
		t.Errorf("%d large segments, of which the chip has cut %d: %+v", cut, r.Cut, c)
	}
}

func checkSegments(t *testing.T, sent [][]byte, shape packettest.Shape, size int) {
	t.Helper()
	var data []byte
	for i, s := range sent {
		if _, err := packettest.Verify(s); err != nil {
			t.Fatalf("%s: segment %d: %v", shape.Name, i, err)
		}
		if n := len(s) - int(shape.Layout.End); n > size || n < size && i < len(sent)-1 {
			t.Fatalf("%s: segment %d of %d has %d bytes", shape.Name, i, len(sent), n)
		}
		data = append(data, s[shape.Layout.End:]...)
	}
	if !bytes.Equal(data, shape.Payload()) {
		t.Fatalf("%s: %d segments have %d bytes together, not those of the payload", shape.Name, len(sent), len(data))
	}
}

// slow has a link of 100 Mb/s, at which the 82574 is not asked for segments.
func slow(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	r.SetSlow()
	if _, err := r.Card.Link(); err != nil {
		t.Fatal(err)
	}
	for _, shape := range packettest.Shapes(t, 30000) {
		if shape.Layout.Protocol != packet.TCP {
			continue
		}
		h := nettest.GSOHeader(shape, 1448)
		h.GSOType &^= virtionet.GSOECN
		send(r.queue(), nettest.Unfinished(t, shape, h))
		checkSegments(t, r.sent(), shape, 1448)
	}
	if cut := r.Cut > 0; cut != (kind != inteltest.I82574) {
		t.Errorf("the chip has cut %d frames", r.Cut)
	}
}

// softwareSegments are those that the chip is not asked for: of UDP, and so small ones that
// the chip's makers have not thought of them.
func softwareSegments(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	for _, shape := range packettest.Shapes(t, 5000) { // those of TCP have congestion bits
		size := 100
		if shape.Layout.Protocol == packet.UDP {
			size = 1400
		}
		f := nettest.Unfinished(t, shape, nettest.GSOHeader(shape, size))
		var sent [][]byte
		for b, done := nettest.BurstOf(f), 0; done == 0; { // the ring is too small for all at once
			done = r.queue().Transmit(b, 0, 1)
			r.queue().Notify()
			sent = append(sent, r.sent()...)
		}
		sent = append(sent, r.sent()...)
		checkSegments(t, sent, shape, size)
	}
	if r.Cut != 0 {
		t.Errorf("the chip was asked for %d", r.Cut)
	}
}
