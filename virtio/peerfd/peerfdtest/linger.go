// Package peerfdtest makes descriptors that hostile peers send.
package peerfdtest

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
)

// LingerTime is more than any test waits.
const LingerTime = time.Minute

// patience is how long it waits for what is to happen while files linger.
const patience = LingerTime / 3

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

// SendLingering sends b through a UNIX socket, with so many descriptors. All but the last close at once. Of that, which
// lingers, no one else has any more: if the receiver does not take it, it is closed within the receiver's system call.
func SendLingering(t testing.TB, conn *net.UnixConn, b []byte, descriptors int) {
	t.Helper()
	slow := Lingering(t)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(event)
	fds := slices.Repeat([]int{event}, descriptors-1)
	if err := peerfd.Send(conn, b, append(fds, slow)...); err != nil {
		t.Fatal(err)
	}
	unix.Close(slow)
}

// AwaitTaken waits until the other side of a UNIX socket has taken all that was sent, whether or not the system
// call that has done so returns.
func AwaitTaken(t testing.TB, conn *net.UnixConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		left := 0
		if e := raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("what was sent is not taken")
		}
	}
}

// LeaveRoom lets the process open so many descriptors more, until the test ends or it calls restore: what is sent
// beyond that, the kernel closes.
func LeaveRoom(t testing.TB, descriptors int) (restore func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	limit := before
	for i := range descriptors + 1 { // the last of them is the first that may not be
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if i == descriptors {
			limit.Cur = uint64(fd)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	restore = func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }
	t.Cleanup(restore)
	return restore
}

// InTime fails the test unless f returns while files linger.
func InTime(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: waits", what)
	}
}
