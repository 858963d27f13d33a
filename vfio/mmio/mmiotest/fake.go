// Package mmiotest has a bank of registers for tests of device drivers. It
// records every access in order and can behave like a device.
package mmiotest

import (
	"encoding/binary"
	"fmt"
	"sync"

	"vvufwd/vfio/mmio"
)

// Access is one register access.
type Access struct {
	Write  bool
	Offset uint64
	Width  int // bytes: 1, 2 or 4
	Value  uint64
}

// String writes the access as "write32 0x10 = 0x1".
func (a Access) String() string {
	verb := "read"
	if a.Write {
		verb = "write"
	}
	return fmt.Sprintf("%s%d 0x%x = 0x%x", verb, a.Width*8, a.Offset, a.Value)
}

// Fake is a bank of registers in ordinary memory. A 64-bit access shows as the
// two 32-bit accesses that a Space makes of it. Safe for concurrent use; the
// hooks run without the lock, so they may use Peek and Poke.
type Fake struct {
	// OnStore, when set, sees each write after it has reached the memory.
	OnStore func(f *Fake, a Access)
	// OnLoad, when set, sees each read before it is answered (Value is what the
	// memory holds) and returns the answer.
	OnLoad func(f *Fake, a Access) uint64

	mu  sync.Mutex
	mem []byte
	log []Access
}

var _ mmio.Space = (*Fake)(nil)

// NewFake returns n bytes of registers that are all zero.
func NewFake(n int) *Fake { return &Fake{mem: make([]byte, n)} }

// Log returns the accesses so far.
func (f *Fake) Log() []Access {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Access(nil), f.log...)
}

// Writes returns the writes so far.
func (f *Fake) Writes() []Access {
	var writes []Access
	for _, a := range f.Log() {
		if a.Write {
			writes = append(writes, a)
		}
	}
	return writes
}

// ClearLog forgets the accesses so far.
func (f *Fake) ClearLog() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

// Peek reads width bytes (1, 2, 4 or 8) as the device does: no record, no hook.
func (f *Fake) Peek(off uint64, width int) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.get(off, width)
}

// Poke writes width bytes (1, 2, 4 or 8) as the device does: no record, no hook.
func (f *Fake) Poke(off uint64, width int, v uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(off, width, v)
}

// Len is the size of the bank in bytes.
func (f *Fake) Len() uint64 { return uint64(len(f.mem)) }

// Load8 is a read of one byte.
func (f *Fake) Load8(off uint64) uint8 { return uint8(f.load(off, 1)) }

// Load16 is a read of two bytes.
func (f *Fake) Load16(off uint64) uint16 { return uint16(f.load(off, 2)) }

// Load32 is a read of four bytes.
func (f *Fake) Load32(off uint64) uint32 { return uint32(f.load(off, 4)) }

// Load64 is two reads of four bytes, the low one first.
func (f *Fake) Load64(off uint64) uint64 {
	low := f.load(off, 4)
	return low | f.load(off+4, 4)<<32
}

// Store8 is a write of one byte.
func (f *Fake) Store8(off uint64, v uint8) { f.store(off, 1, uint64(v)) }

// Store16 is a write of two bytes.
func (f *Fake) Store16(off uint64, v uint16) { f.store(off, 2, uint64(v)) }

// Store32 is a write of four bytes.
func (f *Fake) Store32(off uint64, v uint32) { f.store(off, 4, uint64(v)) }

// Store64 is two writes of four bytes, the low one first.
func (f *Fake) Store64(off uint64, v uint64) {
	f.store(off, 4, v&0xffff_ffff)
	f.store(off+4, 4, v>>32)
}

func (f *Fake) load(off uint64, width int) uint64 {
	f.mu.Lock()
	a := Access{Offset: off, Width: width, Value: f.get(off, width)}
	hook := f.OnLoad
	f.mu.Unlock()
	if hook != nil {
		a.Value = hook(f, a)
	}
	f.mu.Lock()
	f.log = append(f.log, a)
	f.mu.Unlock()
	return a.Value
}

func (f *Fake) store(off uint64, width int, v uint64) {
	a := Access{Write: true, Offset: off, Width: width, Value: v}
	f.mu.Lock()
	f.put(off, width, v)
	f.log = append(f.log, a)
	hook := f.OnStore
	f.mu.Unlock()
	if hook != nil {
		hook(f, a)
	}
}

func (f *Fake) get(off uint64, width int) uint64 {
	mmio.Inside(off, uint64(width), f.Len())
	var b [8]byte
	copy(b[:width], f.mem[off:])
	return binary.LittleEndian.Uint64(b[:])
}

func (f *Fake) put(off uint64, width int, v uint64) {
	mmio.Inside(off, uint64(width), f.Len())
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	copy(f.mem[off:off+uint64(width)], b[:])
}
