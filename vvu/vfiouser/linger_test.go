package vfiouser

import (
	"context"
	"net"
	"os"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
	"vvufwd/virtio/peerfd/peerfdtest"
)

// connected returns both ends of a connection.
func connected(t *testing.T) (ours, client *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// A client can have the kernel hold up who reads its messages. Who stops the server does not wait for that.
func TestLingeringFile(t *testing.T) {
	ours, client := connected(t)
	peerfdtest.SendLingering(t, client, make([]byte, headerSize), 1)
	server := NewServer(newFakeDevice(t), zap.NewNop())
	peerfdtest.LeaveRoom(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.ServeConn(ctx, ours) }()
	peerfdtest.AwaitTaken(t, client)
	cancel()
	peerfdtest.InTime(t, "stopping", func() {
		if err := <-ended; err == nil {
			t.Error("it ends as if the client had left")
		}
	})
}

// What no message has a place for is not closed by who reads.
func TestReadDoesNotWaitForFilesThatNoOneWants(t *testing.T) {
	var head [headerSize]byte
	header{Command: CmdReset, Size: headerSize + 1}.put(head[:])
	t.Run("with the payload", func(t *testing.T) {
		ours, client := connected(t)
		if _, err := client.Write(head[:]); err != nil {
			t.Fatal(err)
		}
		peerfdtest.SendLingering(t, client, []byte{0}, 1)
		peerfdtest.InTime(t, "reading", func() {
			if _, err := newFramer(ours, new(peerfd.Bin)).read(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("too many", func(t *testing.T) {
		ours, client := connected(t)
		peerfdtest.SendLingering(t, client, head[:], MaxFDs+1)
		peerfdtest.InTime(t, "reading", func() {
			if _, err := newFramer(ours, new(peerfd.Bin)).read(); err == nil {
				t.Error("they are taken")
			}
		})
	})
}
