package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/statictest"
	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vfiouser/vfiousertest"
)

const patience = 20 * time.Second

// No one reads what vvudev has to say, and its standard error is full. Front-ends that
// come and go give it a lot to say, under the lock that each register access takes: the
// driver VM's monitor must not notice. When someone reads again, he is told what he has
// missed; and though no one does, vvudev ends in good time.
func TestNoOneReadsTheLog(t *testing.T) {
	dir := t.TempDir()
	if err := statictest.Build(dir, "vvudev"); err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "vvudev") // paths of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	at := func(name string) string { return filepath.Join(sockets, name) }
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stuff(t, w)
	cmd := exec.Command(filepath.Join(dir, "vvudev"), "--log-level=debug", "--vfio-user", at("a"), "--vhost-user", at("b"), "--ram", at("ram"), "--create-ram=1M")
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })

	dial := func(name string) *net.UnixConn {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: at(name), Net: "unix"})
			if err == nil {
				return conn
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	dial("a").Close()
	var monitor *vfiousertest.Client
	dialled := make(chan error, 1)
	go func() {
		var err error
		monitor, err = vfiousertest.Dial(at("a"))
		dialled <- err
	}()
	select {
	case err := <-dialled:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("vvudev does not serve the driver VM's monitor")
	}
	defer monitor.Close()
	const frontends = 2000 // with two lines for each
	for i := range frontends {
		leave(t, dial("b"))
		if i%100 > 0 {
			continue
		}
		if err := monitor.Conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if reply, err := monitor.Do(vfiouser.CmdReset, nil); err != nil || reply.Errno != 0 {
			t.Fatalf("after %d front-ends the device does not answer: %v, %v", i, reply.Errno, err)
		}
	}
	log := make(chan string, 1)
	read := func() {
		text := &bytes.Buffer{}
		buf := make([]byte, 64<<10)
		for !strings.Contains(text.String(), "lines of this log were dropped") {
			n, err := r.Read(buf)
			if text.Write(buf[:n]); err != nil {
				break
			}
		}
		log <- text.String()
	}
	go read()
	select {
	case text := <-log:
		if strings.Count(text, "front-end") < 100 {
			t.Errorf("little was left of the log: %q", text[max(0, len(text)-1000):])
		}
	case <-time.After(patience):
		t.Fatal("the log does not tell of lines that are missing")
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("vvudev ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("vvudev does not end while no one reads its log")
	}
}

// leave ends a connection, and waits until the other side has as well: what it has to say about it is about to be said.
func leave(t *testing.T, conn *net.UnixConn) {
	t.Helper()
	defer conn.Close()
	if err := errors.Join(conn.SetDeadline(time.Now().Add(patience)), conn.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("vvudev sends %d bytes to a front-end that leaves, %v", n, err)
	}
}

// stuff fills a pipe and leaves it as it is for a process: blocking.
func stuff(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; {
		_, err = unix.Write(fd, []byte("\n"))
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}
