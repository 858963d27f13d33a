package hostile

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/control"
)

// TestCapturedLive reads what passes a confined vvufwd while it passes: one reader after the other has every frame that was sent while it
// read; one that takes nothing costs no frame its way, and what it misses is counted.
func TestCapturedLive(t *testing.T) {
	path := shortPaths(t)
	c := startCapturing(t, path, "--capture="+path("a")+"=unix:"+path("live"), "--control="+path("ctl"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	status := func() control.Capture {
		t.Helper()
		asking, err := control.Dial(ctx, channel.Address{Kind: channel.UNIX, Path: path("ctl")})
		if err != nil {
			t.Fatal(err)
		}
		defer asking.Close()
		var all []control.Capture
		if err := asking.Ask(ctx, control.Request{Do: control.Captures}, &all); err != nil || len(all) != 1 || all[0].Reader == nil {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0]
	}
	connect := func() *os.File {
		t.Helper()
		conn, err := (channel.Address{Kind: channel.UNIX, Path: path("live")}).Dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		eventually(t, "it has a reader", func() bool { return *status().Reader })
		return conn
	}
	c.send(ctx, "--count=100") // for no one
	if s := status(); s.Frames != 0 || *s.Reader {
		t.Errorf("frames were captured for no one: %+v", s)
	}
	for range 2 {
		conn := connect()
		r, err := pcapgo.NewNgReader(conn, pcapgo.NgReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			c.send(ctx, "--rate=5000", "--count=500", "--size=100")
		}()
		for n := range 1000 { // half of them received, half sent, while vvufwd goes on
			if data, info, err := r.ReadPacketData(); err != nil || info.Length != 100 || len(data) != 100 {
				t.Fatalf("frame %d: %+v, %v", n, info, err)
			}
		}
		<-sent
		conn.Close()
		eventually(t, "the reader has left", func() bool { return !*status().Reader })
	}
	stuck := connect()
	defer stuck.Close()
	c.send(ctx, "--count=20000", "--size=1500")
	if s := status(); s.Missed == 0 {
		t.Errorf("a reader that takes nothing misses nothing: %+v", s)
	}
	c.end(os.Interrupt)
	if _, err := os.Lstat(path("live")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
