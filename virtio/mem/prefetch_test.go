package mem

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A prefetch changes nothing and faults nowhere: neither at the ends of a mapping
// nor in memory that is gone.
func TestPrefetchTouchesNothing(t *testing.T) {
	const page = 4096
	b, err := unix.Mmap(-1, 0, 4*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	for i := range b {
		b[i] = byte(i * 7)
	}
	// The first and the last page are guards: any access to them would fault.
	for _, guard := range [][]byte{b[:page], b[3*page:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	mapped := b[page : 3*page]
	views := [][]byte{nil, {}, mapped[:1], mapped[2*page-1:], mapped, b, b[page-1 : page+1], mapped[63:65], mapped[100:100]}
	for lines := range 5 {
		PrefetchRead(views, lines)
		PrefetchWrite(views, lines)
		PrefetchRead(nil, lines)
		PrefetchWrite([][]byte{}, lines)
	}
	PrefetchRead(views, 1<<20)
	PrefetchWrite(views, 1<<20)
	for i, got := range mapped {
		if want := byte((i + page) * 7); got != want {
			t.Fatalf("byte %d is %#x, was %#x", i, got, want)
		}
	}
}

func TestPrefetchDoesNotAllocate(t *testing.T) {
	views := [][]byte{make([]byte, 100), make([]byte, 2000)}
	if n := testing.AllocsPerRun(100, func() { PrefetchRead(views, 2); PrefetchWrite(views, 2) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
