package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"vvufwd/vvu/vhostuser"
)

// A front-end that comes to a port that serves another one waits for a while, in case that
// one is about to leave, and is refused then. The log says both. One that comes later is
// served as soon as the port is free.
func TestBusySocket(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	path := filepath.Join(t.TempDir(), "s")
	e, err := Listen(path, 1, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	dial := func() *vhostuser.Conn {
		sock, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		sock.SetDeadline(time.Now().Add(time.Minute))
		return vhostuser.NewConn(sock)
	}
	served := func(c *vhostuser.Conn) {
		t.Helper()
		if err := c.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	first := dial()
	served(first)
	second := dial()
	if _, err := second.ReadMessage(); !errors.Is(err, io.EOF) && !vhostuser.PeerClosed(err) {
		t.Errorf("the second front-end reads %v, want the end", err)
	}
	second.Close()
	third := dial()
	first.Close()
	served(third)
	third.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	e.Close()
	for _, what := range []string{"another front-end has come", "refused a front-end"} {
		if logs.FilterMessageSnippet(what).Len() == 0 {
			t.Errorf("nothing is said of %q: %v", what, logs.All())
		}
	}
}
