package vhostuser

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd/peerfdtest"
)

// A peer can leave files on their way to us that take as long to close as it likes, and
// closing the connection closes them. Whoever closes it holds a lock, or has others to
// serve: he does not wait.
func TestCloseDoesNotWaitForFilesOnTheirWay(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer := pair[0]
	defer unix.Close(peer)
	file := os.NewFile(uintptr(pair[1]), "socket")
	sock, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	conn := NewConn(sock.(*net.UnixConn))
	slow := peerfdtest.Lingering(t)
	begin := time.Now()
	if err := unix.Sendmsg(peer, []byte{0}, unix.UnixRights(slow), nil, 0); err != nil {
		t.Fatal(err)
	}
	unix.Close(slow)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("closing took %v", took)
	}
	if n, err := unix.Read(peer, make([]byte, 1)); n > 0 || err != nil && err != unix.ECONNRESET {
		t.Errorf("the peer reads %d bytes, %v, want to see the end", n, err)
	}
}
