package socket

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// A front-end loses its connection with the link, and while it is down is refused at
// once, not left waiting.
func TestLinkOfAServer(t *testing.T) {
	e, wires := endpointRig(t, 2, func(*Endpoint) {})
	ram := vvutest.NewRAM(t)
	before := 0
	for round := range 4 {
		app := bootApp(t, e.path, ram, vvutest.AppConfig{Style: vhostuser.QEMU, Pairs: 2})
		for pair := range 2 {
			if err := pass(app, wires[pair], pair); err != nil {
				t.Fatal(err)
			}
		}
		e.SetLink(true) // is so
		if err := pass(app, wires[0], 0); err != nil {
			t.Fatal(err)
		}
		e.SetLink(false)
		e.SetLink(false)
		vvutest.AwaitClose(t, app.Conn)
		app.Halt()
		var took []time.Duration
		for range 20 {
			c, err := vhostuser.Dial(e.path)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			vvutest.AwaitClose(t, c)
			took = append(took, time.Since(began))
			c.Close()
		}
		if slices.Sort(took); took[len(took)/2] > redial/2 { // a busy machine may take its time with some
			t.Errorf("refused after %v, for which QEMU's machine stops", took)
		}
		if round == 0 {
			before = openFDs(t)
		}
		noMoreFDs(t, before)
		e.SetLink(true)
	}
}

// A link that goes down and up at once is a new session, too.
func TestLinkFlaps(t *testing.T) {
	e, wires := endpointRig(t, 1, func(*Endpoint) {})
	ram := vvutest.NewRAM(t)
	for range 10 {
		app := bootApp(t, e.path, ram, vvutest.AppConfig{Style: vhostuser.VirtioUser})
		if err := pass(app, wires[0], 0); err != nil {
			t.Fatal(err)
		}
		e.SetLink(false)
		e.SetLink(true)
		vvutest.AwaitClose(t, app.Conn)
		app.Halt()
	}
}

// As a client we do not connect while the link is down.
func TestLinkOfAClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	e := Connect(path, 1, zap.NewNop())
	defer e.Close()
	e.Ports()[0].Leave() // no one forwards: sessions must not wait
	e.SetLink(false)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	for range 2 {
		listener.SetDeadline(time.Now().Add(2 * redial))
		if c, err := listener.AcceptUnix(); err == nil {
			t.Fatalf("%v connected with the link down", c.RemoteAddr())
		}
		e.SetLink(true)
		listener.SetDeadline(time.Now().Add(vvutest.Patience))
		sock, err := listener.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		c := vhostuser.NewConn(sock)
		if err := c.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		e.SetLink(false)
		vvutest.AwaitClose(t, c)
		c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
