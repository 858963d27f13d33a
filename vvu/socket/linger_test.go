package socket

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"vvufwd/virtio/peerfd/peerfdtest"
	"vvufwd/vvu/vhostuser"
)

// A front-end can have the kernel hold up who reads its messages. Who takes its link down does not wait for that, nor
// the next front-end, nor who stops the endpoint.
func TestLingeringFile(t *testing.T) {
	for _, link := range []bool{false, true} {
		e, err := listen(filepath.Join(t.TempDir(), "sock"), 1, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		e.Ports()[0].Leave() // no one forwards: sessions must not wait
		slow, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: e.path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		peerfdtest.SendLingering(t, slow, vhostuser.NewRequest(vhostuser.SetOwner, nil).Append(nil), 1)
		restore := peerfdtest.LeaveRoom(t, 1) // for the connection
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		peerfdtest.AwaitTaken(t, slow)
		if link {
			peerfdtest.InTime(t, "taking the link down", func() { e.SetLink(false) })
			e.SetLink(true)
			restore()
			greet(t, e.path)
		}
		cancel()
		peerfdtest.InTime(t, "stopping", func() {
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		restore()
	}
}

// greet is what a front-end first asks.
func greet(t *testing.T, path string) {
	t.Helper()
	conn, err := vhostuser.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)); err != nil {
		t.Fatal(err)
	}
	peerfdtest.InTime(t, "the next front-end", func() {
		if _, err := conn.ReadMessage(); err != nil {
			t.Error(err)
		}
	})
}
