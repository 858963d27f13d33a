package port_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/vvugen/loopbacktest"
	"vvufwd/cmd/vvugen/port"
	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

func config(path string) port.Config {
	return port.Config{
		Socket: path, Features: virtio.NetMrgRxbuf, QueueSize: 64, FrameSize: 1518, Timeout: 5 * time.Second,
	}
}

func start(t *testing.T, cfg loopbacktest.Config) *loopbacktest.Backend {
	t.Helper()
	b, err := loopbacktest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// TestReopen connects to one back-end again and again; each session moves
// frames.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	start(t, loopbacktest.Config{Sockets: []string{path}, Features: loopbacktest.AllFeatures, Mode: loopbacktest.Discard})
	for range 5 {
		p, err := port.Open(context.Background(), config(path))
		if err != nil {
			t.Fatal(err)
		}
		if want := virtio.Version1 | virtio.NetMrgRxbuf; p.Features() != want {
			t.Errorf("features %v, want %v", p.Features(), want)
		}
		for deadline := time.Now().Add(5 * time.Second); p.Tx.Completed() < 200; {
			for n := p.Tx.Room(32); n > 0; n-- {
				p.Tx.Next()
			}
			p.Tx.Flush()
			if time.Now().After(deadline) {
				t.Fatalf("only %d frames completed: %v", p.Tx.Completed(), p.Err())
			}
		}
		if err := p.Err(); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestServer waits for a back-end that is the client.
func TestServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	cfg := config(path)
	cfg.Server = true
	opened := make(chan error)
	go func() {
		p, err := port.Open(context.Background(), cfg)
		if err == nil {
			err = p.Close()
		}
		opened <- err
	}()
	for deadline := time.Now().Add(5 * time.Second); ; {
		b, err := loopbacktest.Start(loopbacktest.Config{
			Sockets: []string{path}, Dial: true, Features: loopbacktest.AllFeatures, Mode: loopbacktest.Idle,
		})
		if err == nil {
			defer b.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}

// TestGone sees a back-end die.
func TestGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	b := start(t, loopbacktest.Config{Sockets: []string{path}, Features: loopbacktest.AllFeatures, Mode: loopbacktest.Idle})
	p, err := port.Open(context.Background(), config(path))
	if err != nil {
		t.Fatal(err)
	}
	b.HangUp()
	for deadline := time.Now().Add(5 * time.Second); p.Err() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("no one noticed that the back-end is gone")
		}
		time.Sleep(time.Millisecond)
	}
	if got := p.Err().Error(); !strings.Contains(got, path) || !strings.Contains(got, "closed the connection") {
		t.Errorf("error %q", got)
	}
	if err := p.Close(); err != nil {
		t.Errorf("close after the back-end has gone: %v", err)
	}
}

// TestInterrupt ends the waiting in both roles.
func TestInterrupt(t *testing.T) {
	for _, server := range []bool{false, true} {
		cfg := config(filepath.Join(t.TempDir(), "a.sock"))
		cfg.Server, cfg.Timeout = server, time.Hour
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := port.Open(ctx, cfg); !errors.Is(err, context.Canceled) {
			t.Errorf("server %v: error %v, want it to say that it was interrupted", server, err)
		}
	}
}

// TestOpenErrors checks that every failure names the socket and what to do.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, path string)
		change  func(*port.Config)
		want    string
	}{
		"no one there": {want: "start the back-end first"},
		"no one comes": {change: func(c *port.Config) { c.Server = true }, want: "start it as client"},
		"silent back-end": {prepare: func(t *testing.T, path string) {
			answer(t, path, func(conn *vhostuser.Conn) { conn.ReadMessage(); select {} })
		}, want: "i/o timeout"},
		"hostile back-end": {prepare: func(t *testing.T, path string) {
			answer(t, path, func(conn *vhostuser.Conn) {
				conn.WriteMessage(vhostuser.NewReply(vhostuser.GetQueueNum, vhostuser.U64(7)))
				select {}
			})
		}, want: "got a reply to GET_QUEUE_NUM, want one to GET_FEATURES"},
		"legacy back-end": {prepare: func(t *testing.T, path string) {
			start(t, loopbacktest.Config{Sockets: []string{path}, Features: virtio.NetMrgRxbuf, Mode: loopbacktest.Idle})
		}, want: "does not offer VERSION_1"},
		"frames too long without merging": {prepare: func(t *testing.T, path string) {
			start(t, loopbacktest.Config{Sockets: []string{path}, Features: virtio.Version1, Mode: loopbacktest.Idle})
		}, change: func(c *port.Config) { c.FrameSize = 9000 }, want: "--mergeable=false"},
		"socket in use": {prepare: func(t *testing.T, path string) {
			start(t, loopbacktest.Config{Sockets: []string{path}, Mode: loopbacktest.Idle})
		}, change: func(c *port.Config) { c.Server = true }, want: "in use by another process"},
		"odd queue size":  {change: func(c *port.Config) { c.QueueSize = 100 }, want: "power of two"},
		"short frames":    {change: func(c *port.Config) { c.FrameSize = 60 }, want: "64 to 9000"},
		"foreign feature": {change: func(c *port.Config) { c.Features = virtio.NetMQ }, want: "MQ is not one"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if tc.prepare != nil {
				tc.prepare(t, path)
			}
			cfg := config(path)
			cfg.Timeout = 300 * time.Millisecond
			if tc.change != nil {
				tc.change(&cfg)
			}
			p, err := port.Open(context.Background(), cfg)
			if err == nil {
				p.Close()
				t.Fatal("opened")
			}
			if got := err.Error(); !strings.Contains(got, path) || !strings.Contains(got, tc.want) {
				t.Errorf("error %q, want %s and %q in it", got, path, tc.want)
			}
		})
	}
}

// answer listens on path and hands one connection to peer, on a goroutine that
// ends with the test binary.
func answer(t *testing.T, path string, peer func(*vhostuser.Conn)) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		sock, err := l.AcceptUnix()
		if err != nil {
			return
		}
		peer(vhostuser.NewConn(sock))
	}()
}
