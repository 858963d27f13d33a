package peerfd

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
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

// sets are one that uses asynchronous I/O, and one that cannot.
func sets(t testing.TB) map[string]*Set {
	t.Helper()
	s, err := NewSet()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return map[string]*Set{"asynchronous": s, "writing": {empty: -1}}
}

// shared makes an eventfd, as a peer does: the first descriptor stays the peer's, of
// the second an event is made.
func shared(t testing.TB, s *Set, count uint, flags int) (peer int, e *Event) {
	t.Helper()
	peer, err := unix.Eventfd(count, unix.EFD_CLOEXEC|flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(peer) })
	fd, err := unix.FcntlInt(uintptr(peer), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = s.Event(fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return peer, e
}

// soon fails the test unless f returns.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: waits", what)
	}
}

// eventually waits for cond, which another goroutine makes true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for this: %s", what)
		}
	}
}

// count takes an eventfd's counter.
func count(fd int) uint64 {
	var b [8]byte
	unix.Preadv2(fd, [][]byte{b[:]}, -1, unix.RWF_NOWAIT)
	return binary.NativeEndian.Uint64(b[:])
}

const brimful = 1<<64 - 2

func fill(t *testing.T, fd int) {
	t.Helper()
	count(fd)
	if _, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, brimful)); err != nil {
		t.Fatal(err)
	}
}

func TestEveryRingCounts(t *testing.T) {
	fd, e := shared(t, sets(t)["asynchronous"], 0, 0)
	const rings, ringers = 10_000, 4 // many times what the ring of completions holds
	var all sync.WaitGroup
	for range ringers {
		all.Go(func() {
			for range rings {
				e.Ring()
			}
		})
	}
	all.Wait()
	if n := count(fd); n != rings*ringers {
		t.Errorf("counted %d of %d", n, rings*ringers)
	}
	if n := testing.AllocsPerRun(100, e.Ring); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Written rings may come together, but the last one always comes.
func TestRingsByWriting(t *testing.T) {
	fd, e := shared(t, sets(t)["writing"], 0, 0)
	for range 1000 {
		e.Ring()
		eventually(t, "a ring", func() bool { return count(fd) > 0 })
	}
}

// A peer can make the file blocking and fill its counter. Rings return nevertheless,
// also while the peer is at it, and the event can be closed.
func TestRingNeverWaits(t *testing.T) {
	for name, s := range sets(t) {
		t.Run(name, func(t *testing.T) {
			fd, e := shared(t, s, 0, 0)
			fill(t, fd)
			soon(t, "ring", func() {
				for range 100 {
					e.Ring()
				}
			})
			if n := count(fd); n < brimful {
				t.Errorf("counter %#x", n)
			}
			quit := make(chan struct{})
			var sabotage sync.WaitGroup
			sabotage.Go(func() {
				for {
					select {
					case <-quit:
						return
					default:
						count(fd)
						unix.SetNonblock(fd, true)
						unix.Write(fd, binary.NativeEndian.AppendUint64(nil, brimful))
						unix.SetNonblock(fd, false)
					}
				}
			})
			soon(t, "ring under sabotage", func() {
				for range 2000 {
					e.Ring()
				}
			})
			soon(t, "close", e.Close)
			close(quit)
			sabotage.Wait()
			eventually(t, "the descriptor is closed", func() bool { return e.users.Load() == closedUsers })
		})
	}
}

// Of the kernels without asynchronous I/O, a write that waits ends when the event is
// closed: neither thread nor descriptor is lost.
func TestStuckWriterIsRescued(t *testing.T) {
	s := &Set{empty: -1}
	fd, e := shared(t, s, 0, 0)
	fill(t, fd)
	if !e.enter() {
		t.Fatal("closed")
	}
	// As if the counter had been filled between the writer's look and its write.
	e.writer.state.Store(writerBusy)
	s.writing.Add(1)
	go func() {
		unix.Write(e.fd, one)
		e.writer.write(e)
	}()
	soon(t, "ring", e.Ring)
	soon(t, "close", e.Close)
	eventually(t, "the writer is gone", func() bool { return e.users.Load() == closedUsers && s.writing.Load() == 0 })
}

// The number of a closed descriptor may be anyone's.
func TestClosedEvent(t *testing.T) {
	for name, s := range sets(t) {
		_, e := shared(t, s, 0, 0)
		e.Close()
		other, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		if other != e.fd {
			if err := unix.Dup3(other, e.fd, unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(e.fd) })
		}
		t.Cleanup(func() { unix.Close(other) })
		e.Ring()
		e.Close()
		if n := count(other); n != 0 {
			t.Errorf("%s: rang someone else's", name)
		}
		if _, err := unix.FcntlInt(uintptr(e.fd), unix.F_GETFD, 0); err != nil {
			t.Errorf("%s: closed someone else's", name)
		}
	}
	(*Event)(nil).Ring()
	(*Event)(nil).Close()
	if fd := (*Event)(nil).FD(); fd != -1 {
		t.Errorf("no event has descriptor %d", fd)
	}
}

// Events that are rung while they are closed.
func TestRingAndClose(t *testing.T) {
	for name, s := range sets(t) {
		for range 200 {
			_, e := shared(t, s, 0, unix.EFD_NONBLOCK)
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					for range 10 {
						e.Ring()
					}
				})
			}
			all.Go(e.Close)
			all.Wait()
			eventually(t, name+": closed", func() bool { return e.users.Load() == closedUsers })
		}
	}
}

func TestFlagsAreThePeers(t *testing.T) {
	for _, flags := range []int{0, unix.EFD_NONBLOCK} {
		fd, e := shared(t, sets(t)["asynchronous"], 0, flags)
		e.Ring()
		if got, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || got&unix.O_NONBLOCK != flags {
			t.Errorf("flags %#x, had %#x: %v", got, flags, err)
		}
	}
}

func TestDrain(t *testing.T) {
	s := sets(t)["asynchronous"]
	var d Drainer
	for _, test := range []struct {
		count uint
		flags int
		want  bool
		left  uint64
	}{{0, 0, false, 0}, {0, unix.EFD_NONBLOCK, false, 0}, {7, 0, true, 0}, {7, unix.EFD_SEMAPHORE, true, 1 /* of six */}} {
		fd, _ := shared(t, s, test.count, test.flags)
		soon(t, "drain", func() {
			if got := d.Drain(fd); got != test.want {
				t.Errorf("%+v: %v", test, got)
			}
		})
		if n := count(fd); n != test.left {
			t.Errorf("%+v: %d left", test, n)
		}
	}
	fd, _ := shared(t, s, 0, 0)
	if n := testing.AllocsPerRun(100, func() { d.Drain(fd) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Nothing but an eventfd becomes an event, whatever it calls itself.
func TestWrongKinds(t *testing.T) {
	s := sets(t)["asynchronous"]
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	named, err := os.Create(filepath.Join(t.TempDir(), "anon_inode:[eventfd]"))
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	open := func(fd int, err error) int {
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	for name, fd := range map[string]int{
		"pipe":   pipe[0],
		"file":   open(unix.Dup(int(named.Fd()))),
		"memfd":  open(unix.MemfdCreate("anon_inode:[eventfd]", unix.MFD_CLOEXEC)),
		"timer":  open(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)),
		"epoll":  open(unix.EpollCreate1(unix.EPOLL_CLOEXEC)),
		"socket": open(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)),
		"null":   open(unix.Open("/dev/null", unix.O_RDWR, 0)),
		"none":   -1,
	} {
		if _, err := s.Event(fd); err == nil {
			t.Errorf("%s is taken for an eventfd", name)
		}
		var bin Bin
		bin.Discard(fd)
		eventually(t, name+" is closed", func() bool { return bin.closing.Load() == 0 })
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("%s is open still", name)
		}
	}
	unix.Close(pipe[1])
}

func BenchmarkRing(b *testing.B) {
	fd, e := shared(b, sets(b)["asynchronous"], 0, unix.EFD_NONBLOCK)
	b.Run("asynchronous", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Ring()
		}
	})
	b.Run("plain write", func(b *testing.B) {
		for b.Loop() {
			unix.Write(fd, one)
		}
	})
}
