package suite

import (
	"encoding/binary"
	"slices"
	"testing"

	"vvufwd/netfwd"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/net/packet/packettest"
)

// arrived is a frame that a port has handed out.
type arrived struct {
	data  []byte
	valid bool
}

// receive takes what has arrived at a port.
func receive(p netfwd.Port) (got []arrived) {
	var b virtionet.Burst
	for p.Receive(&b) {
		for _, f := range b.Frames(0, b.Len()) {
			got = append(got, arrived{slices.Concat(f.Data...), f.Header.Flags&virtionet.FlagDataValid != 0})
		}
		p.Release(&b, 0, b.Len())
		p.Notify()
	}
	return got
}

// send sends frames in general, and returns how many it is done with.
func send(p netfwd.Port, frames ...virtionet.Frame) (done int) {
	done = p.Transmit(nettest.BurstOf(frames...), 0, len(frames))
	p.Notify()
	return done
}

var burst virtionet.Burst // for pass

// pass moves plain frames from one port to another, and returns how many.
func pass(from, to netfwd.Port) (n int) {
	b := &burst
	if !from.Receive(b) || !b.Plain() {
		return 0
	}
	n = to.Transmit(b, 0, b.Len())
	from.Release(b, 0, n)
	to.Notify()
	from.Notify()
	return n
}

// unfinished sends plain frames whose checksum is to be completed, and returns how many.
func unfinished(t *testing.T, p netfwd.Port, shapes []packettest.Shape) (n int) {
	var b virtionet.Burst
	b.Reset()
	var keep [][]byte
	for i, s := range shapes {
		h := nettest.CsumHeader(s)
		raw := make([]byte, virtionet.HeaderLen+len(s.Frame))
		h.Put((*[virtionet.HeaderLen]byte)(raw))
		copy(raw[virtionet.HeaderLen:], s.Unfinished())
		keep = append(keep, raw)
		b.Add(virtionet.AddressOf(raw)+virtionet.HeaderLen, uint32(len(s.Frame)))
		if !b.Inspect(i, virtionet.AddressOf(raw), virtionet.OffloadCsum) {
			t.Fatalf("%s is not plain", s.Name)
		}
	}
	n = p.Transmit(&b, 0, len(shapes))
	p.Notify()
	_ = keep
	return n
}

// numbered is a frame with a number in it, from a station to another.
func numbered(n, size int) []byte {
	b := nettest.Payload(size, n)
	copy(b, []byte{0x52, 0x54, 0, 0, 1, 1, 0x52, 0x54, 0, 0, 2, 2, 0x08, 0x06})
	binary.LittleEndian.PutUint32(b[14:], uint32(n))
	return b
}
