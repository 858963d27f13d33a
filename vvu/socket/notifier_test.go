package socket

import (
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestIOCBLayout(t *testing.T) {
	var cb iocb
	for name, c := range map[string]struct{ got, want uintptr }{
		"size": {unsafe.Sizeof(cb), 64}, "opcode": {unsafe.Offsetof(cb.opcode), 16}, "fildes": {unsafe.Offsetof(cb.fildes), 20},
		"buf": {unsafe.Offsetof(cb.buf), 24}, "offset": {unsafe.Offsetof(cb.offset), 40},
		"flags": {unsafe.Offsetof(cb.flags), 56}, "resfd": {unsafe.Offsetof(cb.resfd), 60},
		"head": {unsafe.Offsetof(completions{}.head), 8}, "tail": {unsafe.Offsetof(completions{}.tail), 12},
	} {
		if c.got != c.want {
			t.Errorf("%s %d, want %d", name, c.got, c.want)
		}
	}
}

// notifiers are one that uses asynchronous I/O, and one that cannot.
func notifiers(t testing.TB) map[string]*notifier {
	t.Helper()
	n, err := newNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return map[string]*notifier{"asynchronous": n, "writing": {empty: -1}}
}

func TestEveryNotificationCounts(t *testing.T) {
	for name, n := range notifiers(t) {
		fd := eventFD(t)
		defer unix.Close(fd)
		c := n.call(fd)
		const rings = 10_000 // many times what the ring of events holds
		for range rings {
			c.Ring()
		}
		var b [8]byte
		if _, err := unix.Read(fd, b[:]); err != nil || binary.LittleEndian.Uint64(b[:]) != rings {
			t.Errorf("%s: counted %d of %d: %v", name, binary.LittleEndian.Uint64(b[:]), rings, err)
		}
	}
}

// A front-end can make the file blocking and fill its counter.
func TestNotifierNeverWaits(t *testing.T) {
	for name, n := range notifiers(t) {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c := n.call(fd)
			for range 3 {
				c.Ring()
			}
		}()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: waits", name)
		}
		unix.Close(fd)
	}
}

func TestNotifierOutlivesEventFD(t *testing.T) {
	for _, n := range notifiers(t) {
		fd := eventFD(t)
		c := n.call(fd)
		unix.Close(fd)
		c.Ring() // must not harm; a descriptor of that number may be anybody's
	}
}

func BenchmarkRing(b *testing.B) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	for name, n := range notifiers(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for c := n.call(fd); b.Loop(); {
				c.Ring()
			}
		})
	}
	b.Run("plain write", func(b *testing.B) {
		for b.Loop() {
			unix.Write(fd, one)
		}
	})
}
