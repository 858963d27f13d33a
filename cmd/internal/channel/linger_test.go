package channel

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"

	"vvufwd/virtio/peerfd/peerfdtest"
)

// A client can send files that take long to close, read or not. No one waits for them.
func TestLingeringFile(t *testing.T) {
	for name, test := range map[string]struct {
		room   int // descriptors that the process may have besides the client's connection
		served bool
	}{"closed by the Bin": {100, true}, "closed by the kernel": {0, true}, "not let in": {0, false}} {
		t.Run(name, func(t *testing.T) {
			a := Address{Kind: UNIX, Path: filepath.Join(t.TempDir(), "s")}
			l, err := a.Listen()
			if err != nil {
				t.Fatal(err)
			}
			client, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: a.Path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			peerfdtest.SendLingering(t, client, []byte("hello"), 1)
			if !test.served {
				peerfdtest.InTime(t, "closing the listener", func() { l.Close() })
				return
			}
			peerfdtest.LeaveRoom(t, 1+test.room)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			heard := make(chan error, 1)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				Serve(ctx, l, 1, func(_ context.Context, conn *Conn) {
					_, err := io.Copy(io.Discard, conn)
					heard <- err
				})
			}()
			peerfdtest.AwaitTaken(t, client)
			if test.room == 0 {
				cancel()
			}
			peerfdtest.InTime(t, "the client's end", func() {
				if err := <-heard; err == nil {
					t.Errorf("it ends with %v", err)
				}
			})
			cancel()
			peerfdtest.InTime(t, "serving", func() { <-ended })
		})
	}
}
