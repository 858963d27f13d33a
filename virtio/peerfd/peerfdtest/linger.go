// Package peerfdtest makes descriptors that hostile peers send.
package peerfdtest

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// LingerTime is more than any test waits.
const LingerTime = time.Minute

// Lingering returns a file that takes long to close: a TCP connection with data that
// no one takes, which is to linger until someone does, or for LingerTime.
func Lingering(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() }) // ends the lingering
	tcp := out.(*net.TCPConn)
	file, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	tcp.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); err == nil; {
		_, err = unix.Write(fd, block)
	}
	if err := unix.SetNonblock(fd, false); err != nil { // else it would not linger
		t.Fatal(err)
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(LingerTime / time.Second)}); err != nil {
		t.Fatal(err)
	}
	return fd
}
