package vring

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// copies are CopyOps as it is on this processor, and as it is on any.
var copies = map[string]func(ops []Op, head uint64, word uint32) uint64{
	"own": func(ops []Op, head uint64, word uint32) uint64 { return CopyOps(ops, int(head), word) }, "any": copyPlainly,
}

func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// Frames of every length come over whole wherever they lie, each after its header, and
// nothing else is written.
func TestCopyOps(t *testing.T) {
	const most, burst = 1 << 17, 7
	src, dst, want := make([]byte, most), make([]byte, most), make([]byte, most)
	random := rand.NewChaCha8([32]byte{})
	lengths := []int{1023, 1024, 1025, 1518, 2047, 2048, 4096, 9000}
	for n := range 300 {
		lengths = append(lengths, n)
	}
	for name, copyOps := range copies {
		for _, head := range []int{10, 12} {
			for i, n := range lengths {
				random.Read(src[:n+64+burst])
				random.Read(dst[:burst*(n+100)])
				copy(want, dst)
				var ops [burst]Op
				total := 0
				for k := range ops {
					n := max(0, n-k) // not all the same
					from, to := (i*5+k)%64, k*(n+80)+(i*3+k*k)%32
					ops[k] = Op{Src: addressOf(src[from:]), Dst: addressOf(dst[to:]), N: uint32(n)}
					header := [12]byte{8: 1, 10: 2}
					copy(want[to:], header[:])
					copy(want[to+head:], src[from:from+n])
					total += n
				}
				if got := copyOps(ops[:], uint64(head), 1|2<<16); got != uint64(total) {
					t.Fatalf("%s: %d bytes of %d", name, got, total)
				}
				if !bytes.Equal(dst[:burst*(n+200)], want[:burst*(n+200)]) {
					t.Fatalf("%s: frames of %d bytes after headers of %d are not what they should be", name, n, head)
				}
			}
		}
	}
	if CopyOps(nil, 12, 0) != 0 {
		t.Error("nothing has a length")
	}
}

// A fault in the copy is a panic with its address, wherever in a burst and in a frame it
// is, as it is in Go's own copy. The frames before it are copied.
func TestCopyOpsFaults(t *testing.T) {
	const page = 4096
	for kind, take := range map[string]func(t *testing.T) []byte{"unmapped": unmappedHalf, "truncated": truncatedHalf} {
		for name, copyOps := range copies {
			for _, n := range []int{5, 9, 20, 40, 64, 100, 200, 1518, 4000} {
				for _, inSource := range []bool{true, false} {
					t.Run(fmt.Sprint(kind, name, n, inSource), func(t *testing.T) {
						gone := take(t)
						whole, other := make([]byte, 2*page), make([]byte, 2*page)
						for i := range whole {
							whole[i] = byte(i) | 1
						}
						// All but the last byte is there.
						ops := []Op{
							{Src: addressOf(whole), Dst: addressOf(other), N: uint32(n)},
							{Src: addressOf(whole), Dst: addressOf(gone[page-12-n+1:]), N: uint32(n)},
						}
						if n > page-12 {
							t.Fatal("the header does not fit")
						}
						if inSource {
							copy(gone[:page], whole)
							ops[1] = Op{Src: addressOf(gone[page-n+1:]), Dst: addressOf(whole), N: uint32(n)}
						}
						defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
						defer func() {
							fault, ok := recover().(interface{ Addr() uintptr })
							if border := uintptr(addressOf(gone)) + page; !ok || fault.Addr() < border || fault.Addr() >= border+page {
								t.Errorf("panicked with %v, want a fault after %#x", fault, border)
							}
							if !bytes.Equal(other[12:12+n], whole[:n]) && !inSource {
								t.Error("the frame before it is not whole")
							}
						}()
						copyOps(ops, 12, 0)
						t.Error("copied what is gone")
					})
				}
			}
		}
	}
}

// unmappedHalf is two pages of which the second cannot be touched.
func unmappedHalf(t *testing.T) []byte {
	b := mapped(t, -1, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err := unix.Mprotect(b[len(b)/2:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return b
}

// truncatedHalf is two pages of a file that has lost the second.
func truncatedHalf(t *testing.T) []byte {
	fd, err := unix.MemfdCreate("truncated", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 8192); err != nil {
		t.Fatal(err)
	}
	b := mapped(t, fd, unix.MAP_SHARED)
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	return b
}

func mapped(t *testing.T, fd, flags int) []byte {
	b, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return b
}
