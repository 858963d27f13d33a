package peerfd_test

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"vvufwd/virtio/peerfd"
	"vvufwd/virtio/peerfd/peerfdtest"
)

// TestDoorKeepsBinsApart: what refused peers have sent, and takes long to close, is not held against the one that is served.
// No other is let in until it is closed, and that is said.
func TestDoorKeepsBinsApart(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan peerfd.DoorEvent, 2*peerfd.BinSize)
	var bin peerfd.Bin
	door := &peerfd.Door{Listener: l, Bin: &bin, Patience: time.Minute, Said: func(e peerfd.DoorEvent, _ error) { said <- e }} // no room
	dial := func() *net.UnixConn {
		t.Helper()
		c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var want []peerfd.DoorEvent
	for range peerfd.BinSize {
		peerfdtest.SendLingering(t, dial(), []byte("hello"), 1)
		want = append(want, peerfd.PeerRefused)
	}
	dial()
	door.Open(t.Context())
	for i, want := range append(want, peerfd.DoorStuck) {
		select {
		case got := <-said:
			if got != want {
				t.Fatalf("event %d is %d, want %d", i, got, want)
			}
		case <-time.After(peerfdtest.LingerTime / 3):
			t.Fatalf("there is no event %d, want %d", i, want)
		}
	}
	if bin.Full() {
		t.Error("the Bin of who serves is full")
	}
}
