package capture

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
	"go.uber.org/zap/zaptest"

	"vvufwd/cmd/internal/channel"
)

// live starts a recorder without frames that is read at a socket.
func live(t *testing.T) (channel.Address, *Recorder, func()) {
	t.Helper()
	s := Spec{Port: "p", SnapLen: 64, Live: channel.Address{Kind: channel.UNIX, Path: filepath.Join(t.TempDir(), "s")}}
	s.Path = s.Live.String()
	f, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	rec := New(s, f, 1, zaptest.NewLogger(t))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		rec.Run(ctx, "test")
		close(ended)
	}()
	end := func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("it waits for its reader")
		}
	}
	t.Cleanup(end)
	return s.Live, rec, end
}

// Each reader gets a section of its own, from its beginning; who comes last is served; nothing is captured for no one; and the last gets
// an end.
func TestReadersComeAndGo(t *testing.T) {
	at, rec, end := live(t)
	eventually := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within a minute: %s", what)
			}
		}
	}
	eventually("it is on", func() bool { s := rec.Status(); return s.On && !s.Reader })
	read := func() (*os.File, *pcapgo.NgReader) {
		t.Helper()
		conn, err := at.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		r, err := pcapgo.NewNgReader(conn, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		if i, err := r.Interface(0); err != nil || i.Name != "p" || i.SnapLength != 64 {
			t.Errorf("the port is %+v, %v", i, err)
		}
		return conn, r
	}
	first, _ := read()
	eventually("it has a reader", func() bool { return rec.Status().Reader })
	first.Close()
	second, r := read()
	third, last := read()
	if _, _, err := r.ReadPacketData(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second goes on reading: %v", err)
	}
	second.Close()
	end()
	if _, _, err := last.ReadPacketData(); !errors.Is(err, io.EOF) {
		t.Errorf("the last one reads %v", err)
	}
	if i, err := last.Interface(0); err != nil || i.Statistics.LastUpdate.IsZero() {
		t.Errorf("it has no statistics: %+v, %v", i, err)
	}
	third.Close()
	if s := rec.Status(); s.On || s.Reader || !strings.Contains(s.Ended, "program ends") {
		t.Errorf("it ends as %+v", s)
	}
	if _, err := os.Lstat(at.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
