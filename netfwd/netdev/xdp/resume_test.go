package xdp

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
	virtionet "vvufwd/virtio/net"
)

// bare is an interface that the test looks at, and forwards for, itself.
type bare struct {
	*device
	queue     *Queue
	condition netdev.Condition
}

func openBare(t *testing.T, name string, mode Mode) *bare {
	t.Helper()
	open := func() ([]*os.File, error) { return Open(name, Options{Mode: mode, Queues: 1}) }
	files, err := open()
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(files, inNamespace(t, open))
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{device: i.(*device)}
	queues, err := b.Queues(name, &b.condition)
	if err != nil {
		t.Fatal(err)
	}
	b.queue = queues[0].(*Queue)
	t.Cleanup(func() {
		if err := errors.Join(b.queue.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	b.looks(t)
	return b
}

// looks is a look that finds nothing wrong.
func (b *bare) looks(t *testing.T) {
	t.Helper()
	s, err := b.Look()
	if err != nil || !s.Up || s.Trouble != "" {
		t.Fatalf("%+v, %v", s, err)
	}
	b.condition.Set(s)
}

// serve does what a forwarder does in a round: it sends a frame, and returns how many have arrived.
func (b *bare) serve(t *testing.T, s *netdevtest.Source) (arrived int) {
	if b.queue.Changed() {
		b.queue.Sync()
	}
	s.Reset()
	s.Add(t, virtionet.Header{}, frame(1000, 1))
	s.Send(t, b.queue)
	var burst virtionet.Burst
	b.queue.Receive(&burst)
	arrived = burst.Len()
	b.queue.Release(&burst, 0, arrived)
	return arrived
}

// forgets takes a program from its interface without a word, as a driver does that resumes.
func (b *bare) forgets(t *testing.T) {
	t.Helper()
	fd, err := unix.FcntlInt(b.kept[fileLink].Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.NewFromFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Detach(), l.Close()); err != nil {
		t.Fatal(err)
	}
}

// After the machine was suspended an interface is opened again under load, although it was there all the time.
func TestResume(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link set v1 up")
	a, other := openBare(t, "v0", Native), openBare(t, "v1", Native)
	s, back := netdevtest.NewSource(t), netdevtest.NewSource(t)
	passes := func() {
		t.Helper()
		for one, two, end := 0, 0, time.Now().Add(time.Minute); one == 0 || two == 0; time.Sleep(time.Millisecond) {
			one += a.serve(t, s)
			two += other.serve(t, back)
			if time.Now().After(end) {
				t.Fatalf("%d frames come and %d go", one, two)
			}
		}
	}
	passes()
	for range 3 {
		a.forgets(t)
		a.Resume()
		if _, err := a.Look(); !errors.Is(err, errForgotten) {
			t.Fatalf("the look after it: %v", err)
		}
		a.condition.Fail()
		done := make(chan error, 1)
		go func() {
			err := a.Return()
			for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); err = a.Return() {
				time.Sleep(20 * time.Millisecond) // on a busy machine closed sockets take their time, and the next look tries again
			}
			done <- err
		}()
		for returned := false; !returned; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				returned = true
			default:
				a.serve(t, s)
				other.serve(t, back)
			}
		}
		a.looks(t)
		passes()
	}
	if n, _ := a.Dropped(); n > 1<<20 {
		t.Errorf("%d frames are counted as dropped", n)
	}
}

// A loop that does not let go of its sockets is asked again.
func TestResumeWaitsForTheLoop(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link set v1 up")
	a := openBare(t, "v0", Native)
	a.Resume()
	if err := a.Return(); err == nil || !strings.Contains(err.Error(), "has not let go of its sockets") {
		t.Fatalf("without a forwarder: %v", err)
	}
	if _, err := a.Look(); !errors.Is(err, errForgotten) {
		t.Errorf("the look after it: %v", err)
	}
}

// The kernel runs a generic program itself, and a driver that cannot be left is not.
func TestResumeLeavesAlone(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link set v1 up")
	a := openBare(t, "v0", Generic)
	a.Resume()
	a.looks(t)
	a.Mode, a.Driver = ZeroCopy, "virtio_net"
	a.Resume()
	if s, err := a.Look(); err != nil || s.Trouble != spoiltText {
		t.Errorf("%+v, %v", s, err)
	}
	a.Mode, a.Driver = ZeroCopy, "igb"
	a.Resume()
	if _, err := a.Look(); !errors.Is(err, errForgotten) {
		t.Errorf("another driver: %v", err)
	}
}
