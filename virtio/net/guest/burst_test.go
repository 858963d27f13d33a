package guest

import (
	"bytes"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
	"vvufwd/virtio/vring/vringtest"
)

// What was looked at is what goes out, whatever the sender makes of its memory after
// that: its headers, and addresses that someone has set.
func TestBurstSendsWhatWasChecked(t *testing.T) {
	for _, cut := range [][]int{nil, {virtionet.HeaderLen}, {virtionet.HeaderLen + 5}, {virtionet.HeaderLen, 40}} {
		from := newGuestRig(t, vringtest.Config{Indirect: true}, offloading(nettest.AllOffloads, 0))
		to := newGuestRig(t, vringtest.Config{}, offloading(0, nettest.AllOffloads))
		s := packettest.Shapes(t, 300)[0]
		from.transmitWith(t, nettest.CsumHeader(s), s.Unfinished(), cut...)
		from.transmitWith(t, virtionet.Header{}, s.Frame, cut...)
		buffers := map[uint16]receiveBuffer{}
		for range 2 {
			buffers[to.rx.Driver.NextHead()] = to.offer(t, 2048)
		}
		to.txFrames(nil) // sees that there are buffers
		var b virtionet.Burst
		if !from.Receive(&b) || b.Len() != 2 || !b.Plain() {
			t.Fatalf("cut %v: %d frames, plain %v", cut, b.Len(), b.Plain())
		}
		b.ReadAddresses(true)
		for _, r := range from.tx.Mem.Regions()[1:] {
			for i := range r.Mem {
				r.Mem[i] ^= 0xff
			}
		}
		if n := to.Transmit(&b, 0, 2); n != 2 {
			t.Fatalf("cut %v: %d places", cut, n)
		}
		from.Release(&b, 0, 2)
		got, _ := to.received(buffers)
		if len(got) != 2 {
			t.Fatalf("cut %v: %d frames arrived", cut, len(got))
		}
		keep := s.ChecksumField() + 2
		var want [virtionet.HeaderLen]byte
		h := nettest.CsumHeader(s)
		h.NumBuffers = 1
		h.Put(&want)
		if !bytes.Equal(got[0][:virtionet.HeaderLen], want[:]) || !bytes.Equal(got[0][virtionet.HeaderLen:][:keep], s.Unfinished()[:keep]) {
			t.Errorf("cut %v: the checked headers have changed: %x", cut, got[0][:virtionet.HeaderLen+keep])
		}
		if !bytes.Equal(got[1][virtionet.HeaderLen:][:virtionet.AddressBytes], s.Frame[:virtionet.AddressBytes]) {
			t.Errorf("cut %v: the addresses have changed: %x", cut, got[1][virtionet.HeaderLen:][:virtionet.AddressBytes])
		}
		if got[1][virtionet.HeaderLen+virtionet.AddressBytes] != s.Frame[virtionet.AddressBytes]^0xff {
			t.Errorf("cut %v: the rest was copied before Copy", cut)
		}
		if c := from.Counters(); c.Plain != 2 || c.RxPackets != 2 || c.RxBytes != uint64(2*len(s.Frame)) {
			t.Errorf("cut %v: counted %+v", cut, c)
		}
		if c := to.Counters(); c.Offloaded != 1 || c.TxPackets != 2 || c.TxBytes != uint64(2*len(s.Frame)) {
			t.Errorf("cut %v: counted %+v", cut, c)
		}
	}
}
