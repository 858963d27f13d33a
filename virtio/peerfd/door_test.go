package peerfd

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// doorway is a door at a listener of its own, and what it says.
type doorway struct {
	*Door
	t    *testing.T
	said chan DoorEvent
}

func newDoorway(t *testing.T, room int, patience time.Duration) *doorway {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	w := &doorway{t: t, said: make(chan DoorEvent, 100)}
	w.Door = &Door{Listener: l, Bin: new(Bin), Patience: patience, Room: room, Said: func(e DoorEvent, _ error) { w.said <- e }}
	return w
}

// expect wants the next event to be this one.
func (w *doorway) expect(want DoorEvent) {
	w.t.Helper()
	select {
	case got := <-w.said:
		if got != want {
			w.t.Fatalf("event %d, want %d", got, want)
		}
	case <-time.After(doorPatience):
		w.t.Fatalf("no event, want %d", want)
	}
}

// doorPatience is how long it waits for what is to happen.
const doorPatience = 20 * time.Second

// dial connects a peer, which says that, or nothing.
func (w *doorway) dial(words string) *net.UnixConn {
	w.t.Helper()
	c, err := net.DialUnix("unix", nil, w.Listener.Addr().(*net.UnixAddr))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(doorPatience))
	if words != "" {
		if _, err := c.Write([]byte(words)); err != nil {
			w.t.Fatal(err)
		}
	}
	return c
}

// next serves the next peer, and returns what that has said.
func (w *doorway) next() (served *net.UnixConn, words string) {
	w.t.Helper()
	served, err := w.Next(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	served.SetDeadline(time.Now().Add(doorPatience))
	b := make([]byte, 20)
	n, err := served.Read(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return served, string(b[:n])
}

// waiting is how many peers wait.
func (w *doorway) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// refused wants a peer to be refused.
func (w *doorway) refused(c *net.UnixConn) {
	w.t.Helper()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		w.t.Fatalf("%v, want to be refused", err)
	}
}

// TestDoor: a peer that comes while another is served hears something, whether that one
// leaves in time or not, and so do those behind it; it is said what happened.
func TestDoor(t *testing.T) {
	door := newDoorway(t, 1, 300*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	door.Open(ctx)
	next := func(c *net.UnixConn) *net.UnixConn {
		t.Helper()
		served, err := door.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := served.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the peer is not the one that is served: %v", err)
		}
		return served
	}
	first := next(door.dial(""))

	second := door.dial("")
	door.expect(PeerWaits)
	third := door.dial("")
	door.refused(third)
	door.expect(PeerRefused)
	door.refused(second) // after its patience
	door.expect(PeerRefused)

	fourth := door.dial("")
	door.expect(PeerWaits)
	first.Close()
	next(fourth).Close()

	cancel()
	if _, err := door.Next(ctx); err == nil {
		t.Error("a peer comes after the end")
	}
	if _, err := net.DialUnix("unix", nil, door.Listener.Addr().(*net.UnixAddr)); err == nil {
		eventually(t, "no one listens", func() bool {
			_, err := net.DialUnix("unix", nil, door.Listener.Addr().(*net.UnixAddr))
			return err != nil
		})
	}
}

// TestDoorInOrder: who came first is served first.
func TestDoorInOrder(t *testing.T) {
	const peers = 8
	door := newDoorway(t, peers, time.Minute)
	door.Said = func(e DoorEvent, err error) { t.Errorf("event %d, %v", e, err) }
	for i := range peers { // all before anyone asks
		door.dial(string(rune('a' + i)))
	}
	door.Open(t.Context())
	eventually(t, "all have come", func() bool { return door.waiting() == peers })
	for i := range peers {
		served, words := door.next()
		if words != string(rune('a'+i)) {
			t.Fatalf("peer %q comes as number %d", words, i)
		}
		served.Close()
	}
}

// TestDoorForgetsThoseWhoLeft: peers that have hung up while they waited keep no room from others, and are not
// said to be refused, neither then nor when their patience would have ended.
func TestDoorForgetsThoseWhoLeft(t *testing.T) {
	const room, left = 3, 50
	door := newDoorway(t, room, time.Minute)
	door.Open(t.Context())
	next := func() string {
		served, words := door.next()
		defer served.Close()
		return words
	}
	door.dial("first")
	next()
	for range left {
		door.dial("gone").Close()
		door.expect(PeerWaits)
	}
	stays := door.dial("stays")
	door.expect(PeerWaits)
	for i := 0; next() != "stays"; i++ {
		if i == room {
			t.Fatal("a peer that stays did not get its turn")
		}
	}
	stays.Close()

	door.mu.Lock()
	door.Patience = 100 * time.Millisecond
	door.mu.Unlock()
	door.dial("gone").Close()
	door.expect(PeerWaits)
	eventually(t, "no one waits", func() bool { return door.waiting() == 0 })
	door.dial("stays, too long")
	door.expect(PeerWaits)
	door.expect(PeerRefused)
}

// TestDoorRefusesWhileTheBinIsFull: a peer that comes while what the one before has sent is still being closed is refused
// after its patience, as it would be if that one were there.
func TestDoorRefusesWhileTheBinIsFull(t *testing.T) {
	door := newDoorway(t, 1, 100*time.Millisecond)
	release := make(chan struct{})
	defer close(release)
	door.Bin.later(BinSize*goroutineShare, func() { <-release })
	door.Open(t.Context())
	door.mu.Lock()
	door.busy = true // with the one before
	door.mu.Unlock()
	go door.Next(t.Context())
	door.refused(door.dial(""))
}
