package peerfd

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestDoor: a peer that comes while another is served hears something, whether that one
// leaves in time or not, and so do those behind it; it is said what happened.
func TestDoor(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan DoorEvent, 100)
	expect := func(want DoorEvent) {
		t.Helper()
		select {
		case got := <-said:
			if got != want {
				t.Fatalf("event %d, want %d", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no event, want %d", want)
		}
	}
	dial := func() *net.UnixConn {
		t.Helper()
		c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	refused := func(c *net.UnixConn) {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("%v, want to be refused", err)
		}
		expect(PeerRefused)
	}
	ctx, cancel := context.WithCancel(t.Context())
	door := &Door{Listener: l, Bin: new(Bin), Patience: 300 * time.Millisecond, Room: 1, Said: func(e DoorEvent, _ error) { said <- e }}
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
	first := next(dial())

	second := dial()
	expect(PeerWaits)
	third := dial()
	refused(third)
	refused(second) // after its patience

	fourth := dial()
	expect(PeerWaits)
	first.Close()
	next(fourth).Close()

	cancel()
	if _, err := door.Next(ctx); err == nil {
		t.Error("a peer comes after the end")
	}
	if _, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr)); err == nil {
		eventually(t, "no one listens", func() bool {
			_, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
			return err != nil
		})
	}
}

// TestDoorInOrder: who came first is served first.
func TestDoorInOrder(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	const peers = 8
	door := &Door{Listener: l, Bin: new(Bin), Patience: time.Minute, Room: peers, Said: func(e DoorEvent, err error) { t.Errorf("event %d, %v", e, err) }}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range peers { // all before anyone asks
		c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	door.Open(ctx)
	eventually(t, "all have come", func() bool {
		door.mu.Lock()
		defer door.mu.Unlock()
		return len(door.queue) == peers
	})
	for i := range peers {
		served, err := door.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := served.Read(b[:]); err != nil || int(b[0]) != i {
			t.Fatalf("peer %d comes as number %d, %v", b[0], i, err)
		}
		served.Close()
	}
}

// TestDoorForgetsThoseWhoLeft: peers that have hung up while they waited keep no room from others, and are not
// said to be refused, neither then nor when their patience would have ended.
func TestDoorForgetsThoseWhoLeft(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	const room, left = 3, 50
	said := make(chan DoorEvent, 2*left)
	door := &Door{Listener: l, Bin: new(Bin), Patience: time.Minute, Room: room, Said: func(e DoorEvent, _ error) { said <- e }}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	door.Open(ctx)
	dial := func(word string) *net.UnixConn {
		t.Helper()
		c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	next := func() (word string) {
		t.Helper()
		served, err := door.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer served.Close()
		b := make([]byte, 20)
		n, err := served.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	expect := func(want DoorEvent) {
		t.Helper()
		select {
		case got := <-said:
			if got != want {
				t.Fatalf("event %d, want %d", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no event, want %d", want)
		}
	}
	dial("first")
	next()
	for range left {
		dial("gone").Close()
		expect(PeerWaits)
	}
	stays := dial("stays")
	expect(PeerWaits)
	for i := 0; next() != "stays"; i++ {
		if i == room {
			t.Fatal("a peer that stays did not get its turn")
		}
	}
	stays.Close()

	door.mu.Lock()
	door.Patience = 100 * time.Millisecond
	door.mu.Unlock()
	dial("gone").Close()
	expect(PeerWaits)
	eventually(t, "no one waits", func() bool {
		door.mu.Lock()
		defer door.mu.Unlock()
		return len(door.queue) == 0
	})
	dial("stays, too long")
	expect(PeerWaits)
	expect(PeerRefused)
}

// TestDoorHearsBehindAFullBin: a peer that comes while what the one before has sent is still being closed is refused
// after its patience, as it would be if that one were there.
func TestDoorHearsBehindAFullBin(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	door := &Door{Listener: l, Bin: new(Bin), Patience: 100 * time.Millisecond, Room: 1, Said: func(DoorEvent, error) {}}
	release := make(chan struct{})
	defer close(release)
	door.Bin.later(BinSize*goroutineShare, func() { <-release })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	door.Open(ctx)
	door.mu.Lock()
	door.busy = true // with the one before
	door.mu.Unlock()
	go door.Next(ctx)
	c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("%v, want to be refused", err)
	}
}
