package driver

import (
	"testing"

	"vvufwd/virtio"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring"
)

// FuzzHostileDevice lets a device write whatever it likes to wherever it can reach, at any time, between
// what a forwarder does: the port reads and writes nothing but its buffers, hands out no frame that there may
// not be, and does not panic.
func FuzzHostileDevice(f *testing.F) {
	f.Add([]byte{0x01, 60, 3, 2, 0x03, 4, 5})
	f.Add([]byte{0, 0, 0, 20, 4, 1, 0, 9, 0, 0x02, 0x05, 0x02})
	f.Add([]byte{0x81, 200, 0x82, 0x80, 2, 1, 10, 3, 1, 1, 0xff, 0x82, 0x83, 0x84, 0x82})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		packedRings = data[0]&0x80 != 0
		r := newNICRig(t, rigFeatures|virtio.NetOffloads, 16, 0)
		packedRings = false
		buffers := r.rxBuffers.memory.Bytes
		begin := virtionet.AddressOf(buffers)
		end := begin + uint64(len(buffers))
		regions := [][]byte{r.rxRing(), buffers, r.txRing(), r.txBuffers.memory.Bytes}
		next := func() (b byte) {
			if len(data) > 0 {
				b, data = data[0], data[1:]
			}
			return b
		}
		for len(data) > 0 {
			switch next() & 0x7f % 6 {
			case 0: // anything, anywhere
				to := regions[next()%4]
				at := (int(next())<<8 | int(next())) % len(to)
				for n := next() % 16; n > 0 && at < len(to); n, at = n-1, at+1 {
					to[at] = next()
				}
			case 1: // what a device does
				var c vring.Chain
				r.devRx.ResetViews()
				if r.devRx.Available(); r.devRx.Pop(&c) && len(c.Write) == 1 && virtionet.AddressOf(c.Write[0]) >= begin {
					n := min(int(next())*8, len(c.Write[0]))
					copy(c.Write[0], withHeader(1, nettest.Payload(max(n-virtionet.HeaderLen, 0), 1)))
					r.devRx.Push(c.Head, uint32(n))
					r.devRx.Publish()
				}
			case 2:
				var b virtionet.Burst
				r.Receive(&b)
				for i := range b.Len() {
					if b.Plain() && b.Pieces(i) == 1 {
						if at, n := b.Ops[i].Src, b.Ops[i].N; at < begin || at+uint64(n) > end || n < virtionet.MinFrame || n > virtionet.MaxFrame {
							t.Fatalf("frame of %d bytes at %#x, which is not in the buffers", n, at)
						}
						continue
					}
					total := 0
					fr := b.Frames(i, i+1)[0]
					for _, v := range fr.Data {
						if at := virtionet.AddressOf(v); len(v) > 0 && b.Undone()>>i&1 == 0 && (at < begin || at+uint64(len(v)) > end) {
							t.Fatalf("a piece of %d bytes is not in the buffers", len(v))
						}
						total += len(v)
					}
					if total != fr.Len || total < virtionet.MinFrame || total > virtionet.MaxFrame {
						t.Fatalf("frame of %d bytes, in pieces of %d together", fr.Len, total)
					}
				}
				r.Release(&b, 0, b.Len())
			case 3:
				r.txFrames([]virtionet.Frame{nettest.Frame(nettest.Payload(14+int(next())*6, 2))})
			case 4:
				var c vring.Chain
				r.devTx.ResetViews()
				if r.devTx.Available(); r.devTx.Pop(&c) {
					r.devTx.Push(c.Head, 0)
					r.devTx.Publish()
				}
			case 5:
				r.EnableKicks(next()&1 != 0)
				r.DisableKicks()
				r.Notify()
			}
		}
		r.Recover()
	})
}
