package await

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func eventfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func ring(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Error(err)
	}
}

func TestReadable(t *testing.T) {
	a, b := eventfd(t), eventfd(t)
	if Readable(t.Context(), time.Millisecond, a, b, -1) {
		t.Error("none was readable, and one is said to be")
	}
	ring(t, b)
	for range 2 { // it stays readable
		if !Readable(t.Context(), Forever, -1, a, b, b) {
			t.Error("an event that came before was missed")
		}
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		ring(t, a)
	}()
	if !Readable(t.Context(), Forever, a) {
		t.Error("an event during the wait was missed")
	}
}

func TestReadableEndsWithContext(t *testing.T) {
	a := eventfd(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if Readable(ctx, Forever, a) {
		t.Error("it was readable")
	}
	ring(t, a)
	if Readable(ctx, Forever, a) {
		t.Error("waited although the context is done")
	}
}

// Each round rings at another moment, so some rings come between the look and the wait.
func TestReadableMissesNothing(t *testing.T) {
	a, done := eventfd(t), make(chan struct{})
	next := make(chan struct{})
	go func() {
		defer close(done)
		for range next {
			ring(t, a)
		}
	}()
	var buf [8]byte
	for range 2000 {
		next <- struct{}{}
		if !Readable(t.Context(), time.Minute, a) {
			t.Fatal("an event was missed")
		}
		unix.Read(a, buf[:])
	}
	close(next)
	<-done
}

// A wait must not keep a thread: hundreds of them need no more than a few.
func TestReadableKeepsNoThread(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	const waits = 200
	ended := make(chan bool, waits)
	for range waits {
		a := eventfd(t)
		go func() { ended <- Readable(ctx, Forever, a) }()
	}
	time.Sleep(50 * time.Millisecond)
	if n := threads(t); n > waits/2 {
		t.Errorf("%d threads for %d waits", n, waits)
	}
	cancel()
	for range waits {
		if <-ended {
			t.Error("one was readable")
		}
	}
}

// A descriptor that epoll does not take, as a file, is always readable for poll(2).
func TestReadableFile(t *testing.T) {
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if !Readable(t.Context(), time.Second, fd) {
		t.Error("a file is readable")
	}
}

func TestPatience(t *testing.T) {
	a := eventfd(t)
	p := Patience{First: time.Millisecond, Most: 3 * time.Millisecond}
	for _, want := range []time.Duration{1, 2, 3, 3} {
		if p.Readable(t.Context(), a); p.last != want*time.Millisecond {
			t.Errorf("waits for %v, want %v ms", p.last, want)
		}
	}
	ring(t, a)
	if !p.Readable(t.Context(), a) || p.last != 0 {
		t.Errorf("an event leaves it with %v", p.last)
	}
}
func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}
