package vhostuser

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// socketPair returns a Conn and the raw socket of its peer, both closed at the
// end of the test.
func socketPair(t testing.TB) (*Conn, *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var socks [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		socks[i] = c.(*net.UnixConn)
	}
	conn := NewConn(socks[0])
	t.Cleanup(func() { conn.Close(); socks[1].Close() })
	deadline := time.Now().Add(20 * time.Second)
	conn.SetReadDeadline(deadline)
	conn.SetWriteDeadline(deadline)
	socks[1].SetDeadline(deadline)
	return conn, socks[1]
}

// newFile returns a descriptor of an anonymous file that holds text.
func newFile(t testing.TB, text string) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return fd
}

func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// checkFiles checks that fds are close-on-exec and hold the texts, in order.
func checkFiles(t *testing.T, fds []int, texts ...string) {
	t.Helper()
	if len(fds) != len(texts) {
		t.Fatalf("%d file descriptors, want %d", len(fds), len(texts))
	}
	for i, fd := range fds {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("file descriptor %d: flags %#x, %v, want close-on-exec", i, flags, err)
		}
		b := make([]byte, 16)
		n, err := unix.Pread(fd, b, 0)
		if err != nil || string(b[:n]) != texts[i] {
			t.Errorf("file descriptor %d holds %q, %v, want %q", i, b[:n], err, texts[i])
		}
	}
}

func TestConnCarriesMessages(t *testing.T) {
	conn, raw := socketPair(t)
	peer := NewConn(raw)
	want := []Message{
		NewRequest(GetFeatures, nil),
		NewRequest(SetMemTable, MemoryTable(testRegions), newFile(t, "first"), newFile(t, "second")),
		NewRequest(SetVringKick, VringFD{Index: 1}, newFile(t, "third")),
		{Request: GetFeatures, Flags: ReplyFlags, Payload: make([]byte, MaxPayload)},
		NewRequest(SetOwner, nil, newFile(t, "fourth")),
	}
	texts := [][]string{nil, {"first", "second"}, {"third"}, nil, {"fourth"}}
	// All of them lie in the socket before the first is read, so a read that is
	// too long would run into the next message.
	for _, m := range want {
		if err := peer.WriteMessage(m); err != nil {
			t.Fatal(err)
		}
	}
	before := openFDs(t)
	for i := range want {
		got, err := conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		checkFiles(t, got.FDs, texts[i]...)
		got.CloseFDs()
		if got.FDs != nil {
			t.Error("closed descriptors are still there")
		}
		if got.Request != want[i].Request || got.Flags != want[i].Flags || !bytes.Equal(got.Payload, want[i].Payload) {
			t.Errorf("message %d is %v, want %v", i, got, want[i])
		}
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d open files, %d before", after, before)
	}
}

// TestConnReadsTrickle sends a message byte by byte, its descriptors with the
// first one.
func TestConnReadsTrickle(t *testing.T) {
	conn, raw := socketPair(t)
	m := NewRequest(SetVringCall, VringFD{Index: 1})
	rights := unix.UnixRights(newFile(t, "call"))
	go func() {
		for i, b := range m.Append(nil) {
			var oob []byte
			if i == 0 {
				oob = rights
			}
			if _, _, err := raw.WriteMsgUnix([]byte{b}, oob, nil); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	got, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	checkFiles(t, got.FDs, "call")
	got.CloseFDs()
	if diff := cmp.Diff(m.Payload, got.Payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

// TestConnEnds cuts a message with a descriptor at every byte.
func TestConnEnds(t *testing.T) {
	m := NewRequest(SetVringCall, VringFD{Index: 1})
	wire := m.Append(nil)
	for n := range len(wire) {
		conn, raw := socketPair(t)
		before := openFDs(t)
		if n > 0 {
			if _, _, err := raw.WriteMsgUnix(wire[:n], unix.UnixRights(newFile(t, "x")), nil); err != nil {
				t.Fatal(err)
			}
		}
		opened := min(n, 1) // the file of this test, not what was received
		raw.CloseWrite()
		got, err := conn.ReadMessage()
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) || !PeerClosed(err) {
			t.Errorf("cut after %d bytes: %v, want %v", n, err, want)
		}
		if len(got.FDs) != 0 || openFDs(t) != before+opened {
			t.Errorf("cut after %d bytes: descriptors leaked", n)
		}
	}
}

func TestConnRefusesTooMuch(t *testing.T) {
	file := newFile(t, "x")
	many := make([]int, MaxFDs+1)
	for i := range many {
		many[i] = file
	}
	m := NewRequest(SetOwner, nil).Append(nil)
	for name, tc := range map[string]struct {
		bytes, oob []byte
		want       string
	}{
		"too many descriptors": {m, unix.UnixRights(many...), "the limit is 32"},
		"payload too large": {
			Header{Request: SetOwner, Flags: Version, Size: MaxPayload + 1}.Append(nil), unix.UnixRights(file), "more than the limit",
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, raw := socketPair(t)
			before := openFDs(t)
			if _, _, err := raw.WriteMsgUnix(tc.bytes, tc.oob, nil); err != nil {
				t.Fatal(err)
			}
			_, err := conn.ReadMessage()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d open files, %d before", after, before)
			}
		})
	}
	t.Run("too many in pieces", func(t *testing.T) {
		conn, raw := socketPair(t)
		before := openFDs(t)
		for i := range 2 {
			if _, _, err := raw.WriteMsgUnix(m[6*i:6*i+6], unix.UnixRights(many[:MaxFDs-1]...), nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := conn.ReadMessage(); err == nil {
			t.Error("accepted")
		}
		if after := openFDs(t); after != before {
			t.Errorf("%d open files, %d before", after, before)
		}
	})
	t.Run("as many as allowed", func(t *testing.T) {
		conn, raw := socketPair(t)
		if err := NewConn(raw).WriteMessage(NewRequest(SetOwner, nil, many[:MaxFDs]...)); err != nil {
			t.Fatal(err)
		}
		got, err := conn.ReadMessage()
		if err != nil || len(got.FDs) != MaxFDs {
			t.Errorf("%d descriptors, %v", len(got.FDs), err)
		}
		got.CloseFDs()
	})
	t.Run("writing", func(t *testing.T) {
		conn, _ := socketPair(t)
		if err := conn.WriteMessage(NewRequest(SetOwner, nil, many...)); err == nil {
			t.Error("too many descriptors were written")
		}
		if err := conn.WriteMessage(Message{Payload: make([]byte, MaxPayload+1)}); err == nil {
			t.Error("too large a payload was written")
		}
	})
}

// TestConnDropsStrayRights attaches descriptors to a payload, where they do not
// belong.
func TestConnDropsStrayRights(t *testing.T) {
	conn, raw := socketPair(t)
	wire := NewRequest(SetVringCall, VringFD{Index: 1}).Append(nil)
	raw.Write(wire[:HeaderSize])
	rights := unix.UnixRights(newFile(t, "x"))
	before := openFDs(t)
	if _, _, err := raw.WriteMsgUnix(wire[HeaderSize:], rights, nil); err != nil {
		t.Fatal(err)
	}
	got, err := conn.ReadMessage()
	if err != nil || len(got.FDs) != 0 {
		t.Errorf("got %v, %v, want the message alone", got, err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d open files, %d before", after, before)
	}
}

func TestConnClose(t *testing.T) {
	conn, raw := socketPair(t)
	done := make(chan error)
	go func() {
		_, err := conn.ReadMessage()
		done <- err
	}()
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := <-done; !PeerClosed(err) {
		t.Errorf("reader of a closed connection: %v", err)
	}
	if err := NewConn(raw).WriteMessage(NewRequest(GetFeatures, nil)); !PeerClosed(err) {
		t.Errorf("write to a closed peer: %v", err)
	}
}

func TestDial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	if _, err := Dial(path); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), path) {
		t.Errorf("no socket: %v, want an error that does not name it, as the caller does", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestFrontendOverSocket joins every Frontend with a Backend over a real socket,
// with real descriptors.
func TestFrontendOverSocket(t *testing.T) {
	for _, style := range Styles() {
		t.Run(style.Name, func(t *testing.T) {
			conn, raw := socketPair(t)
			cfg := testFrontend(style, 2)
			for i := range cfg.Rings {
				cfg.Rings[i].Kick, cfg.Rings[i].Call = newFile(t, "kick"), newFile(t, "call")
			}
			cfg.Files = []int{newFile(t, "low"), newFile(t, "high")}
			before := openFDs(t)

			served := make(chan error)
			d := newModel(t, BackendConfig{Features: testFeatures, Protocol: SupportedProtocol, Rings: 4, PassesFDs: true})
			d.realFiles = true
			go func() { served <- serve(d, conn) }()

			f := NewFrontend(NewConn(raw), cfg)
			if err := f.Connect(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := f.Start(); err != nil {
					t.Fatal(err)
				}
				if _, err := f.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Start(); err != nil {
				t.Fatal(err)
			}
			raw.CloseWrite()
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			for i := range cfg.Rings {
				if diff := cmp.Diff(wantRing(i, 0), d.b.Ring(i)); diff != "" {
					t.Errorf("ring %d (-want +got):\n%s", i, diff)
				}
			}
			f.DropInflight()
			if after := openFDs(t); after != before {
				t.Errorf("%d open files, %d before", after, before)
			}
		})
	}
}

// serve is a back-end's loop around a model, until the peer closes.
func serve(d *model, conn *Conn) error {
	for {
		m, err := conn.ReadMessage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = d.handle(m)
		m.CloseFDs()
		if err != nil {
			return err
		}
		for len(d.replies) > 0 {
			r, _ := d.ReadMessage()
			err := conn.WriteMessage(r)
			r.CloseFDs()
			if err != nil {
				return err
			}
		}
	}
}
