package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/clitest"
	"vvufwd/cmd/internal/control"
	"vvufwd/netfwd"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vvuctl": main, "busy": busy, "hangup": hangUp, "refuse": refuse})
}

// busy listens at a socket, accepts no one, and has all the places of those who wait taken: busy SOCKET. Then there is SOCKET.ready.
func busy() {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: os.Args[1]}), unix.Listen(fd, 0))
	}
	for err == nil {
		var waiting int
		if waiting, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0); err == nil {
			err = unix.Connect(waiting, &unix.SockaddrUnix{Name: os.Args[1]})
		}
	}
	if errors.Is(err, unix.EAGAIN) {
		err = os.WriteFile(os.Args[1]+".ready", nil, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	time.Sleep(time.Hour)
}

// hangUp reads a request and does not answer it: hangup SOCKET.
func hangUp() {
	l, err := net.Listen("unix", os.Args[1])
	if err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			_, err = conn.Read(make([]byte, control.MaxRequest))
			err = errors.Join(err, conn.Close())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// refuse answers one request with an error that is given in JSON, as a driver VM that was taken over may: refuse SOCKET ERROR.
func refuse() {
	l, err := net.Listen("unix", os.Args[1])
	if err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			var r control.Request
			err = errors.Join(json.NewDecoder(conn).Decode(&r), conn.SetDeadline(time.Now().Add(time.Minute)))
			fmt.Fprintf(conn, "{\"id\":%q,\"error\":%s}\n", r.ID, os.Args[2])
			err = errors.Join(err, conn.Close())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestCLI plays command lines and checks messages and exit codes. What a vvufwd answers is tested with that.
func TestCLI(t *testing.T) { clitest.Play(t, "testdata", "", nil, nil) }

// Every answer has a table, and whatever is in it, it is text.
func TestTables(t *testing.T) {
	no, n := false, uint64(7)
	for _, c := range []struct {
		do   string
		data any
		want string
	}{
		{control.Ports, []control.Port{{Name: "a", Kind: "guest", With: "b", Pairs: 8, Used: 2, Address: "52:54:00:00:00:01", Isolated: true}}, "a     guest  b     2       8   mac=52:54:00:00:00:01,isolate\n"},
		{control.Links, []control.Link{{Name: "a", Kind: "nic", Returns: &n, Why: "w"}, {Name: "b", Up: true}}, "a     nic   down  7        w\n"},
		{control.Switch, control.Bridge{Ports: []control.Port{{Name: "a", Kind: "nic", Uplink: true}}, Floods: 5}, "floods             5\n"},
		{control.Captures, []control.Capture{{Port: "a", File: "f", On: true, Reader: &no, SnapLen: 60, Frames: 3}, {Port: "b", Ended: "no space"}}, "a     f     on, no reader    3       0       60       -\n"},
		{control.LogLevel, control.Level{Level: "info"}, "info\n"}, {control.Version, "vvufwd 1", "vvufwd 1\n"}, {control.Metrics, "x 1\n", "x 1\n"},
		{control.Version, "\x1b[2Jevil\u009b\x7f\t\a", "\uFFFD[2Jevil\uFFFD\uFFFD \uFFFD\n"},
		{control.Links, []control.Link{{Name: "\x1b[31m"}}, "\uFFFD[31m"},
		{control.Links, []control.Link{{Name: "a\nb\tc\td"}}, "\na b c d        down"},
		{control.Stats, netfwd.Stats{Ports: []netfwd.PortStats{{Name: "a\nb\tc", RxPackets: 1}}}, "\n  a b c           1"},
	} {
		data, err := json.Marshal(c.data)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := show(control.Request{Do: c.do}, data, cleaner{&out}); err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v, %q, want %q", c.do, err, &out, c.want)
		}
		if err := show(control.Request{Do: c.do}, []byte(`true`), &out); err == nil || !strings.Contains(err.Error(), "not understood") {
			t.Errorf("%s: what is no answer: %v", c.do, err)
		}
	}
}

// What no vvufwd answers has no table: each row would be as wide as the widest.
func TestTablesAreBounded(t *testing.T) {
	rows := func(n int, name string) (all []control.Link) {
		for range n {
			all = append(all, control.Link{Name: name})
		}
		return all
	}
	for _, c := range []struct {
		do   string
		data any
		want string
	}{
		{control.Links, rows(maxRows, ""), ""}, {control.Links, rows(maxRows+1, ""), "a list of 4097"},
		{control.Links, rows(1, strings.Repeat("x", maxCell)), ""}, {control.Links, rows(1, strings.Repeat("x", maxCell+1)), "a name of 4097 bytes"},
		{control.Switch, control.Bridge{Ports: make([]control.Port, maxRows+1)}, "a list of 4097"},
		{control.Stats, netfwd.Stats{Ports: make([]netfwd.PortStats, maxRows+1)}, "a list of 4097"},
		{control.Metrics, strings.Repeat("x 1\n", maxCell), ""},
	} {
		data, err := json.Marshal(c.data)
		if err != nil {
			t.Fatal(err)
		}
		err = show(control.Request{Do: c.do}, data, io.Discard)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.do, err, c.want)
		}
	}
}
