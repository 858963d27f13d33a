package peerfd

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a stream.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

func newMemfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.MemfdCreate("pass", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Two messages that have come before the first is read: each keeps its descriptors.
func TestDescriptorsStayWithTheirMessage(t *testing.T) {
	a, b := pair(t)
	x, y := newMemfd(t), newMemfd(t)
	for _, err := range []error{Send(a, []byte("head"), x, x), Send(a, []byte("next"), y), Send(a, []byte("none"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := NewReceiver(b, 2)
	for _, want := range [][]int{{x, x}, {y}, nil} {
		head := make([]byte, 4)
		fds, err := r.Fill(head, func() { t.Error("called for a header that was there at once") })
		if err != nil || len(fds) != len(want) {
			t.Fatalf("%q with %d descriptors, %v; want %d", head, len(fds), err, len(want))
		}
		for i, fd := range fds {
			got, err := Identify(fd)
			sent, err2 := Identify(want[i])
			if err != nil || err2 != nil || got != sent {
				t.Errorf("%q: descriptor %d is another file's (%v, %v)", head, i, err, err2)
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d is not close-on-exec", fd)
			}
			unix.Close(fd)
		}
	}
}

func TestHeaderInPieces(t *testing.T) {
	a, b := pair(t)
	begun := 0
	send := func(text string, fds ...int) {
		if err := Send(a, []byte(text), fds...); err != nil {
			t.Error(err)
		}
	}
	send("he", newMemfd(t))
	head := make([]byte, 4)
	fds, err := NewReceiver(b, 2).Fill(head, func() { begun++; send("ad", newMemfd(t)) })
	if err != nil || len(fds) != 2 || string(head) != "head" || begun != 1 {
		t.Errorf("%q with %d descriptors, %v, begun %d times", head, len(fds), err, begun)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func TestHeaderErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		parts []string // each comes with each descriptors
		each  int
		want  string
		fds   int
	}{
		{"closed before", nil, 0, io.EOF.Error(), 0},
		{"closed within", []string{"he"}, 1, io.ErrUnexpectedEOF.Error(), 1},
		{"too many at once", []string{"head"}, 3, "carries 3 file descriptors, the limit is 2", 3},
		{"too many in pieces", []string{"he", "ad"}, 2, "carries 4 file descriptors, the limit is 2", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pair(t)
			send := func() {
				if len(tt.parts) == 0 {
					a.Close()
					return
				}
				var fds []int
				for range tt.each {
					fds = append(fds, newMemfd(t))
				}
				if err := Send(a, []byte(tt.parts[0]), fds...); err != nil {
					t.Error(err)
				}
				tt.parts = tt.parts[1:]
			}
			send()
			fds, err := NewReceiver(b, 2).Fill(make([]byte, 4), send)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(fds) != tt.fds {
				t.Errorf("%d descriptors, %v; want %d and %q", len(fds), err, tt.fds, tt.want)
			}
			if wantEOF := tt.name == "closed before"; errors.Is(err, io.EOF) != wantEOF {
				t.Errorf("%v is io.EOF: %t", err, !wantEOF)
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
		})
	}
}

// What does not fit into the socket's buffer at once is sent in the end.
func TestSendAll(t *testing.T) {
	a, b := pair(t)
	big := make([]byte, 4<<20)
	sent := make(chan error, 1)
	fd := newMemfd(t)
	go func() { sent <- Send(a, big, fd) }()
	fds, err := NewReceiver(b, 1).Fill(make([]byte, len(big)), nil)
	if err != nil || len(fds) != 1 {
		t.Errorf("%d descriptors, %v", len(fds), err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
