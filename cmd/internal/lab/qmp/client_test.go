package qmp

import (
	"bufio"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeQEMU listens at a socket and answers each line with the next of the given ones.
func fakeQEMU(t *testing.T, greeting string, answers ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qmp")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Write([]byte(greeting))
		lines := bufio.NewScanner(conn)
		for _, a := range answers {
			if !lines.Scan() {
				return
			}
			conn.Write([]byte(a))
		}
		lines.Scan() // until the client goes
		conn.Close()
	}()
	return path
}

const (
	hello = `{"QMP": {"version": {}, "capabilities": []}}` + "\r\n"
	done  = `{"return": {}}` + "\r\n"
)

func TestCommandsAndEvents(t *testing.T) {
	ctx := context.Background()
	c, err := Dial(ctx, fakeQEMU(t, hello, done,
		`{"timestamp": {}, "event": "RESUME"}`+"\n"+`{"return": {"status": "running"}}`+"\n",
		`{"error": {"class": "GenericError", "desc": "no such device"}}`+"\n",
		done+`{"event": "A"}`+"\n"+`{"event": "DEVICE_DELETED"}`+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Execute(ctx, "query-status", nil)
	if err != nil || string(got) != `{"status": "running"}` {
		t.Errorf("result %s, %v", got, err)
	}
	if _, err := c.Execute(ctx, "device_del", map[string]any{"id": "x"}); err == nil || !strings.Contains(err.Error(), "device_del: no such device") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Execute(ctx, "device_del", map[string]any{"id": "y"}); err != nil {
		t.Error(err)
	}
	if err := c.Await(ctx, "DEVICE_DELETED"); err != nil {
		t.Error(err)
	}
}

func TestSilenceEndsWithTheContext(t *testing.T) {
	c, err := Dial(context.Background(), fakeQEMU(t, hello, done))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeoutCause(context.Background(), 20*time.Millisecond, errTooSlow)
	defer cancel()
	if err := c.Await(ctx, "SHUTDOWN"); !errors.Is(err, errTooSlow) {
		t.Errorf("error %v", err)
	}
}

var errTooSlow = errors.New("too slow")

func TestOthersAreNotTakenForQEMU(t *testing.T) {
	if _, err := Dial(context.Background(), fakeQEMU(t, `{"hello": 1}`)); err == nil || !strings.Contains(err.Error(), "greet") {
		t.Errorf("error %v", err)
	}
	if _, err := Dial(context.Background(), filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("connected to nothing")
	}
}
