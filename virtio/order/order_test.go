package order

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// half is the 16-bit word at base+off.
func half(base unsafe.Pointer, off int) *uint16 { return (*uint16)(unsafe.Add(base, off)) }

// load16 loads a half of an aligned word, as rings do.
func load16(p *uint16) uint16 {
	addr := uintptr(unsafe.Pointer(p))
	word := atomic.LoadUint32((*uint32)(unsafe.Add(unsafe.Pointer(p), -int(addr&2))))
	return uint16(word >> (addr & 2 * 8))
}

// Both halves of a word are loaded and stored right, and the store changes no
// byte besides its own two.
func TestStoreRelease16TouchesTwoBytes(t *testing.T) {
	words := make([]uint64, 2)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 16)
	for off := 0; off < 16; off += 2 {
		for _, v := range []uint16{0, 1, 0x1234, 0x8000, 0xffff} {
			for i := range b {
				b[i] = byte(0xc0 + i)
			}
			p := half(unsafe.Pointer(&words[0]), off)
			if got, want := load16(p), uint16(0xc0+off)|uint16(0xc1+off)<<8; got != want {
				t.Fatalf("load at %d: %#x, want %#x", off, got, want)
			}
			StoreRelease16(p, v)
			for i := range b {
				want := byte(0xc0 + i)
				switch i {
				case off:
					want = byte(v)
				case off + 1:
					want = byte(v >> 8)
				}
				if b[i] != want {
					t.Fatalf("store of %#x at %d: byte %d is %#x, want %#x", v, off, i, b[i], want)
				}
			}
			if got := load16(p); got != v {
				t.Fatalf("loaded %#x at %d, stored %#x", got, off, v)
			}
		}
	}
}

// Two threads own one half of a word each. A store that writes the whole word
// would take a peer's store back now and then.
func TestStoreRelease16LeavesThePeersHalfAlone(t *testing.T) {
	const rounds = 300_000
	base := unsafe.Pointer(new(uint64))
	var done sync.WaitGroup
	var lost [2]int
	for side := range 2 {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			own := half(base, 2*side)
			for i := range rounds {
				StoreRelease16(own, uint16(i))
				if load16(own) != uint16(i) {
					lost[side]++
				}
			}
		})
	}
	done.Wait()
	if lost[0]+lost[1] != 0 {
		t.Errorf("%v stores of %d were undone by the other half's owner", lost, rounds)
	}
}
