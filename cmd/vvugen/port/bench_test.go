package port

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"vvufwd/virtio/order"
	"vvufwd/virtio/vring"
)

// The benchmarks compare what a frame costs on the driver side, without the
// cache misses that a device on another CPU causes. Their device is the least
// that there can be: it completes all that is offered, in order, by moving
// used.idx over elements that were written beforehand.

const benchEntries, benchBurst = 256, 32

// completer is that device.
type completer struct{ shared sharedRing }

func newCompleter(mem []byte, at placement, bytes uint64) completer {
	c := completer{newSharedRing(mem, at, benchEntries)}
	for i := range c.shared.elements {
		c.shared.elements[i] = uint64(i) | bytes<<32
	}
	return c
}

func (c completer) complete() {
	atomic.StoreUint32(c.shared.usedWord, noNotify|atomic.LoadUint32(c.shared.availWord)&^0xffff)
}

func benchMemory(b *testing.B) ([]byte, placement) {
	at := place(0, benchEntries, Header+64)
	m, err := newMemory(at.end)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	return m.bytes, at
}

// BenchmarkTransmit is ns per frame sent and collected, nothing written.
func BenchmarkTransmit(b *testing.B) {
	mem, at := benchMemory(b)
	device := newCompleter(mem, at, 0)
	tx := Tx{
		ring:    newRing(mem, at, benchEntries, guestBase, at.room, false, ringMode{}),
		buffers: mem[at.buffers:at.end], stride: at.stride, frame: 64,
	}
	b.ReportAllocs()
	for left := b.N; left > 0; left -= benchBurst {
		for range tx.Room(benchBurst) {
			tx.Next()
		}
		tx.Flush()
		device.complete()
	}
	if tx.Err() != nil {
		b.Fatal(tx.Err())
	}
}

// BenchmarkReceive is ns per frame received and given back, with its vnet header
// read.
func BenchmarkReceive(b *testing.B) {
	mem, at := benchMemory(b)
	device := newCompleter(mem, at, Header+64)
	rx := Rx{
		ring:    newRing(mem, at, benchEntries, guestBase, at.room, true, ringMode{}),
		buffers: mem[at.buffers:at.end], stride: at.stride,
	}
	rx.Return()
	var f Frame
	b.ReportAllocs()
	for left := b.N; left > 0; {
		device.complete()
		rx.Look()
		for range benchBurst {
			if !rx.Receive(&f) {
				break
			}
			left--
		}
		rx.Return()
	}
	if rx.Err() != nil {
		b.Fatal(rx.Err())
	}
}

// BenchmarkDriver is the same with the general vring.Driver: transmitted and
// collected, in one descriptor.
func BenchmarkDriver(b *testing.B) {
	mem := make([]uint64, vring.DriverBytes(benchEntries)/8+2)
	bytes := asBytes(mem)
	driver, err := vring.NewDriver(vring.DriverConfig{Size: benchEntries, Memory: bytes, Base: guestBase})
	if err != nil {
		b.Fatal(err)
	}
	_, avail, used := driver.Addresses()
	device := newCompleter(bytes, placement{desc: 0, avail: int(avail - guestBase), used: int(used - guestBase)}, 0)
	part := []vring.Part{{Addr: guestBase, Len: 76}}
	var u vring.Used
	heads := device.shared
	b.ReportAllocs()
	pos := 0
	for left := b.N; left > 0; left -= benchBurst {
		for range benchBurst {
			head, err := driver.Add(part, nil)
			if err != nil {
				b.Fatal(err)
			}
			heads.elements[pos%benchEntries] = uint64(head) // the free list is a stack: ids are not the positions
			pos++
		}
		driver.Publish()
		driver.NeedKick()
		device.complete()
		for driver.Completed(); driver.Take(&u); {
		}
	}
	if driver.Err() != nil {
		b.Fatal(driver.Err())
	}
}

// BenchmarkAcross is ns per frame, sent and received, with the device on another
// CPU: it reads a word of each frame sent, writes one of each frame received and
// every used element. It does less than any back-end, so this is the most that a
// generator can reach on this machine. Pin nothing else to the CPUs meanwhile.
func BenchmarkAcross(b *testing.B) {
	at := place(0, benchEntries, Header+64)
	rxAt := place(at.end, benchEntries, Header+64)
	m, err := newMemory(rxAt.end)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	mem := m.bytes
	tx := Tx{
		ring:    newRing(mem, at, benchEntries, guestBase, at.room, false, ringMode{}),
		buffers: mem[at.buffers:at.end], stride: at.stride, frame: 64,
	}
	rx := Rx{
		ring:    newRing(mem, rxAt, benchEntries, guestBase, rxAt.room, true, ringMode{}),
		buffers: mem[rxAt.buffers:rxAt.end], stride: rxAt.stride,
	}
	for _, write := range []bool{false, true} {
		b.Run(map[bool]string{false: "transmit", true: "receive"}[write], func(b *testing.B) {
			place := at
			if write {
				place = rxAt
				rx.Return()
			}
			var stop atomic.Bool
			done := make(chan uint64)
			device := newCompleter(mem, place, Header+64)
			atomic.StoreUint32(device.shared.usedWord, noNotify|atomic.LoadUint32(device.shared.usedWord))
			go device.serve(mem, place, write, &stop, done)
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; {
				if write {
					frames, _ := rx.Count(min(rx.Look(), 64))
					rx.Return()
					left -= int(frames)
					continue
				}
				if tx.Room(benchBurst) < benchBurst {
					continue
				}
				for range benchBurst {
					_, frame := tx.Next()
					binary.LittleEndian.PutUint64(frame[40:], uint64(left))
					binary.LittleEndian.PutUint64(frame[48:], uint64(left))
					binary.LittleEndian.PutUint64(frame[56:], uint64(left))
				}
				tx.Flush()
				left -= benchBurst
			}
			b.StopTimer()
			stop.Store(true)
			<-done
			tx.Reap()
			if tx.Err() != nil || rx.Err() != nil {
				b.Fatal(tx.Err(), rx.Err())
			}
		})
	}
}

// serve completes whatever is offered, in order, until it is stopped; then it
// returns the sum of what it read, so that it has to read.
func (c completer) serve(mem []byte, at placement, write bool, stop *atomic.Bool, done chan<- uint64) {
	next := uint16(atomic.LoadUint32(c.shared.usedWord) >> 16)
	var sum uint64
	for !stop.Load() {
		avail := uint16(atomic.LoadUint32(c.shared.availWord) >> 16)
		if avail == next {
			continue
		}
		for n := 0; next != avail && n < benchBurst; n++ {
			slot := int(next) % benchEntries
			word := mem[at.buffers+slot*at.stride+headerAt+Header+48:]
			if write {
				binary.LittleEndian.PutUint64(word, uint64(next))
			} else {
				sum += binary.LittleEndian.Uint64(word)
			}
			c.shared.elements[slot] = uint64(slot) | (Header+64)<<32
			next++
		}
		order.StoreRelease32(c.shared.usedWord, noNotify|uint32(next)<<16)
	}
	done <- sum
}
