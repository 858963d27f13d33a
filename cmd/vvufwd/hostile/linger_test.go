package hostile

import (
	"bytes"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd/peerfdtest"
)

// leaveLingering connects to a socket that serves another front-end, says something wrong
// and leaves behind it a file that takes a minute to close: whoever reads the first ends
// the session, and closes the file with the connection.
func leaveLingering(t *testing.T, path string) {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	slow := peerfdtest.Lingering(t)
	defer unix.Close(slow)
	if _, err := conn.Write(bytes.Repeat([]byte{0xff}, 12)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.WriteMsgUnix([]byte{1}, unix.UnixRights(slow), nil); err != nil {
		t.Fatal(err)
	}
}

// Files that take long to close are on their way to vvufwd when it closes the connection.
// It does not wait for them: the next front-end has its turn, and the end comes in time.
func TestFilesOnTheirWay(t *testing.T) {
	f := startForwarder(t, 4)
	startVictim(t, f, 2, 3, gentle...)
	partner := join(t, f.sockets[1])
	defer partner.leave()
	g := join(t, f.sockets[0]) // those who come after it wait
	for range 3 {
		leaveLingering(t, f.sockets[0])
	}
	g.leave()
	g = join(t, f.sockets[0])
	defer g.leave()
	exchange(t, g, partner)
	for range 3 { // no one is to read this any more
		leaveLingering(t, f.sockets[0])
	}
}
