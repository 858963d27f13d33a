package xdp

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
)

// FuzzKernel has a kernel write anything into its rings, at any time. Frames that are handed out lie in chunks
// that are received into, those that are sent in the others, and what is wrong goes away by itself.
func FuzzKernel(f *testing.F) {
	op := func(kind byte, v uint64, n uint32, options uint32) (b []byte) {
		b = append(b, kind)
		b = binary.LittleEndian.AppendUint64(b, v)
		b = binary.LittleEndian.AppendUint32(b, n)
		return binary.LittleEndian.AppendUint32(b, options)
	}
	f.Add(append(op(0, 256, 60, 0), op(4, 0, 0, 0)...))
	f.Add(append(append(op(0, 256, 3840, 1), op(0, 4096+256, 100, 0)...), op(4, 0, 0, 0)...))
	f.Add(append(append(op(5, 60, 0, 0), op(1, rxChunks*largeChunk+64, 0, 0)...), op(5, 9000, 0, 0)...))
	f.Add(append(append(op(2, 1<<31, 0, 0), op(4, 0, 0, 0)...), op(3, 5, 0, 0)...))
	f.Fuzz(func(t *testing.T, input []byte) {
		p := play(t, whole)
		base := p.receiver.base
		within := func(at uint64, n uint32) {
			off := at - base
			if n == 0 || off >= p.receiver.rxEnd() || off%largeChunk+uint64(n) > largeChunk {
				t.Fatalf("%d bytes at %#x are handed out", n, off)
			}
		}
		var b virtionet.Burst
		receive := func() {
			p.Receive(&b)
			for i := range b.Len() {
				if b.Pieces(i) == 1 {
					within(b.Ops[i].Src, b.Ops[i].N)
				} else {
					total := uint32(0)
					for _, piece := range b.From.Of(i) {
						within(piece.Addr, piece.N)
						total += piece.N
					}
					if total != b.Ops[i].N || total > virtionet.MaxFrame {
						t.Fatalf("a frame of %d bytes says that it has %d", total, b.Ops[i].N)
					}
				}
				if b.Ops[i].N < virtionet.MinFrame {
					t.Fatalf("a frame of %d bytes", b.Ops[i].N)
				}
			}
			p.Release(&b, 0, b.Len()/2)
			p.Release(&b, b.Len()/2, b.Len())
		}
		for ; len(input) >= 17; input = input[17:] {
			v := binary.LittleEndian.Uint64(input[1:])
			n, options := binary.LittleEndian.Uint32(input[9:]), binary.LittleEndian.Uint32(input[13:])
			switch input[0] % 6 {
			case 0:
				p.rxEnd.put(desc{addr: v, n: n, options: options})
				p.rxEnd.publish()
			case 1:
				p.doneEnd.put(v)
				p.doneEnd.publish()
			case 2:
				atomic.StoreUint32(p.rx.producer, uint32(v))
			case 3:
				atomic.StoreUint32(p.tx.consumer, uint32(v))
			case 4:
				receive()
			case 5:
				p.Transmit(nettest.BurstOf(nettest.Frame(nettest.Payload(14+int(v%9000), 1))), 0, 1)
				p.Notify()
			}
			if p.count < 0 || p.count > txChunks || p.held != 0 && input[0]%6 == 4 {
				t.Fatalf("%d chunks are free, %d frames held", p.count, p.held)
			}
		}
		for pos := p.txEnd.next; pos != p.tx.next; pos++ {
			if d := p.tx.at(pos); p.tx.next-pos <= txSize && (p.transmitter.sentChunk(d.addr) >= txChunks || d.addr < p.receiver.rxEnd() || d.addr%largeChunk+uint64(d.n) > largeChunk) {
				t.Fatalf("%d bytes at %#x are to be sent", d.n, d.addr)
			}
		}
		atomic.StoreUint32(p.rx.producer, p.rx.next) // in the end it is right again
		p.rxEnd.next = p.rx.next
		p.arrive(t, nettest.Payload(100, 1), 3840)
		if receive(); p.Counters().RxPackets == 0 {
			t.Fatal("a good frame does not arrive any more")
		}
	})
}
