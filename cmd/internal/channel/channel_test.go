package channel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Address{
		"/run/a.sock": {Kind: UNIX, Path: "/run/a.sock"}, "unix:/run/a": {Kind: UNIX, Path: "/run/a"},
		"vsock:5000":         {Kind: VSock, CID: unix.VMADDR_CID_ANY, Port: 5000},
		"virtio-serial:ctl":  {Kind: Serial, Name: "ctl"},
		udevPorts + "frames": {Kind: Serial, Name: "frames"},
	} {
		got, err := Parse(text)
		if again, e := Parse(got.String()); err != nil || got != want || e != nil || again != got {
			t.Errorf("%s: %+v, %v, and from %v %+v, %v", text, got, err, got, again, e)
		}
	}
	for text, want := range map[string]string{
		"": "want the path", "unix:": "want the path", "unix": "want the path", "vsock": "want vsock:PORT", "virtio-serial": "want virtio-serial:NAME", "vsock:": "want vsock:PORT", "vsock:3:5": "want vsock:PORT", "vsock:4294967295": "want vsock:PORT",
		"vsock:-1": "want vsock:PORT", "virtio-serial:": "want virtio-serial:NAME", "virtio-serial:../x": "want virtio-serial:NAME", "/" + strings.Repeat("x", 108): "longer than the 107 characters",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", text, got, err, want)
		}
	}
	if a, err := ParseDial("vsock:3:5000"); err != nil || a.CID != 3 || a.Port != 5000 || a.String() != "vsock:3:5000" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, text := range []string{"vsock:5000", "vsock", "virtio-serial", "unix", "vsock:x:1", "vsock:1:x", "virtio-serial:a", ""} {
		if a, err := ParseDial(text); err == nil {
			t.Errorf("%q: %+v", text, a)
		}
	}
	for text, want := range map[string]string{"127.0.0.1:9100": "127.0.0.1:9100", "localhost:1": "127.0.0.1:1", ":9100": "[::]:9100", "[::1]:80": "[::1]:80"} {
		if a, err := ParseTCP(text); err != nil || a.Kind != TCP || a.String() != want {
			t.Errorf("%s: %v, %v", text, a, err)
		}
	}
	for _, text := range []string{"", "9100", "example.org:80", "127.0.0.1", ":x", ":99999", "::1"} {
		if a, err := ParseTCP(text); err == nil {
			t.Errorf("%q: %v", text, a)
		}
	}
}

// A socket is for its owner alone, whatever the umask; one that no one has open is replaced, one that is open is not, nor is anything
// else; and closing removes it once.
func TestListen(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "s")
	a := Address{Kind: UNIX, Path: path}
	l, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("it is %v, %v", info.Mode(), err)
	}
	if _, err := a.Listen(); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("twice: %v", err)
	}
	if err := l.file.Close(); err != nil { // as if killed
		t.Fatal(err)
	}
	second, err := a.Listen()
	if err != nil {
		t.Fatalf("what is left of a process: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("what another has made is gone: %v", err)
	}
	if _, err := a.Listen(); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("in place of a file: %v", err)
	}
	if _, err := (Address{Kind: UNIX, Path: path + "/x/y"}).Listen(); err == nil {
		t.Error("in a directory that does not exist")
	}
}

// Of other virtual machines no one is let in.
func TestWelcome(t *testing.T) {
	for _, c := range []struct {
		peer unix.Sockaddr
		want bool
	}{
		{&unix.SockaddrVM{CID: unix.VMADDR_CID_HOST}, true}, {&unix.SockaddrVM{CID: unix.VMADDR_CID_LOCAL}, true},
		{&unix.SockaddrVM{CID: unix.VMADDR_CID_HYPERVISOR}, false}, {&unix.SockaddrVM{CID: 3}, false}, {&unix.SockaddrVM{CID: unix.VMADDR_CID_ANY}, false},
		{&unix.SockaddrInet4{}, true}, {&unix.SockaddrUnix{}, true}, {nil, true},
	} {
		if got := welcome(c.peer); got != c.want {
			t.Errorf("%#v: %v, want %v", c.peer, got, c.want)
		}
	}
}

// Over TCP it works alike.
func TestTCP(t *testing.T) {
	a, err := ParseTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		Serve(ctx, l, 2, func(_ context.Context, conn *Conn) { io.Copy(conn, conn) })
		close(ended)
	}()
	conn, err := net.Dial("tcp", l.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("hello"))
	conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	cancel()
	<-ended
}

// Without IPv6 all addresses are those of IPv4.
func TestTCPWithoutIPv6(t *testing.T) {
	newSocket = func(family, kind, protocol int) (int, error) {
		if family == unix.AF_INET6 {
			return -1, unix.EAFNOSUPPORT
		}
		return unix.Socket(family, kind, protocol)
	}
	defer func() { newSocket = unix.Socket }()
	a, err := ParseTCP(":0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(l.Address().TCP.Port()))))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if a, err = ParseTCP("[::1]:0"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Listen(); !errors.Is(err, unix.EAFNOSUPPORT) || !strings.Contains(err.Error(), "this machine has no such addresses") {
		t.Errorf("an address of IPv6: %v", err)
	}
}

// Who comes when there is no room takes the place of who came first, and no one is left when Serve has returned.
func TestServeBoundsClients(t *testing.T) {
	a := Address{Kind: UNIX, Path: filepath.Join(t.TempDir(), "s")}
	l, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var now, most atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Serve(ctx, l, 3, func(_ context.Context, conn *Conn) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			conn.Write([]byte("x"))
			io.Copy(io.Discard, conn)
		})
	}()
	var all []*os.File
	one := make([]byte, 1)
	for i := range 10 {
		conn, err := a.Dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := conn.Read(one); err != nil {
			t.Fatalf("client %d is not served: %v", i, err)
		}
		all = append(all, conn)
	}
	for i, conn := range all[:7] {
		if _, err := conn.Read(one); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("client %d is still there: %v", i, err)
		}
	}
	all[8].Close() // one that leaves makes room
	cancel()
	<-ended
	if now.Load() != 0 {
		t.Errorf("%d clients are left", now.Load())
	}
	if _, err := os.Lstat(a.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestFindSerial(t *testing.T) {
	portsClass = t.TempDir()
	defer func() { portsClass = "/sys/class/virtio-ports" }()
	if err := errors.Join(os.Mkdir(filepath.Join(portsClass, "vport1p2"), 0o755), os.WriteFile(filepath.Join(portsClass, "vport1p2", "name"), []byte("frames\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if got, err := findSerial("frames"); err != nil || got != "/dev/vport1p2" {
		t.Errorf("the port is %s, %v", got, err)
	}
	if _, err := findSerial("none"); err == nil || !strings.Contains(err.Error(), `there is no virtio-serial port of that name (there are ["frames"])`) || strings.Count(err.Error(), "none") != 1 {
		t.Errorf("one that is not there, which the flag names: %v", err)
	}
	if _, err := (Address{Kind: UNIX}).OpenSerial(); !errors.Is(err, ErrNotSerial) {
		t.Errorf("a socket: %v", err)
	}
}

// Of a host that is not there one hears once.
func TestSerialReader(t *testing.T) {
	// A pipe whose writers are gone says "end of file" as such a port does, and again and again; the poller tells of changes.
	dir := t.TempDir()
	path := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := NewSerialReader(f)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		defer close(got)
		buf := make([]byte, 100)
		for {
			n, err := r.Read(buf)
			switch {
			case errors.Is(err, io.EOF):
				got <- "left"
			case err != nil:
				return
			default:
				got <- string(buf[:n])
			}
		}
	}()
	next := func() string {
		select {
		case s := <-got:
			return s
		case <-time.After(time.Minute):
			t.Fatal("nothing is read")
			return ""
		}
	}
	for _, words := range []string{"one", "two"} {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.WriteString(words)
		if s := next(); s != words {
			t.Errorf("read %q", s)
		}
		w.Close()
		if s := next(); s != "left" {
			t.Errorf("read %q when the writer had left", s)
		}
	}
	f.Close()
	for s := range got {
		t.Errorf("%q is told again", s)
	}
}
