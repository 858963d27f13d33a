package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/control"
)

// freeAddress is one of this machine that no one listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Whoever reaches --control or --metrics may be anyone. What they say, or do not, must not hold up the ports, the
// next who asks, or the end of the program.
func TestAskers(t *testing.T) {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, address := filepath.Join(dir, "c"), freeAddress(t)
	f := startForwarder(t, 4, "--control="+socket, "--metrics="+address)
	startVictim(t, f, 2, 3, gentle...)
	a, b := join(t, f.sockets[0]), join(t, f.sockets[1])
	defer a.leave()
	defer b.leave()
	asked := func() { // by those who mean no harm
		eventually(t, "an answer of --control", func() bool { return askVersion(t, socket) == nil })
		eventually(t, "a page of --metrics", func() bool { return scrape(address) == nil })
		exchange(t, a, b)
	}
	asked()
	before := f.census(t)
	request := `{"do":"stats","id":1}` + "\n"
	page := "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct {
		name   string
		says   string // again and again
		hangUp bool   // after it was said once
		files  bool
	}{
		{name: "nothing"},
		{name: "nothing, and gone", hangUp: true},
		{name: "half a request", says: request[:9], hangUp: true},
		{name: "a line without end", says: strings.Repeat("x", 4096)},
		{name: "lines of nothing", says: strings.Repeat("\n", 4096)},
		{name: "zeroes", says: strings.Repeat("\x00", 4096)},
		{name: "requests, and no answer is read", says: strings.Repeat(request, 64)},
		{name: "requests that are none", says: strings.Repeat(`{"do":{"do":[[[[]]]]},"id":-1e999}`+"\n", 64)},
		{name: "depth", says: `{"do":` + strings.Repeat("[", 4000)},
		{name: "pages, and none is read", says: strings.Repeat(page, 64)},
		{name: "a head without end", says: "GET /metrics HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", 600)},
		{name: "files", says: request, files: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := f.log.mark()
			ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
			defer cancel()
			var crowd sync.WaitGroup
			for i := range 40 { // more than either serves at once
				network, at := "unix", socket
				if i%2 == 1 {
					network, at = "tcp", address
				}
				crowd.Go(func() { pester(ctx, network, at, c.says, c.hangUp, c.files) })
			}
			exchange(t, a, b)
			crowd.Wait()
			asked()
			if said := len(f.log.find(mark, says("", ""))); said > 2000 {
				t.Errorf("the log grew by %d lines", said)
			}
		})
	}
	f.settled(t, before)
}

// pester says the same again and again, over one connection after the other, and reads nothing.
func pester(ctx context.Context, network, at, words string, hangUp, files bool) {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout(network, at, time.Second)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		end := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
		for say := true; say; say = err == nil && !hangUp && ctx.Err() == nil {
			if u, ok := conn.(*net.UnixConn); ok && files {
				_, _, err = u.WriteMsgUnix([]byte(words), unix.UnixRights(0, 1, 2), nil)
			} else if words != "" {
				_, err = io.WriteString(conn, words)
			} else {
				time.Sleep(10 * time.Millisecond)
			}
		}
		end()
		conn.Close()
	}
}

// askVersion asks at a control socket.
func askVersion(t *testing.T, socket string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	at, err := channel.ParseDial(socket)
	if err != nil {
		return err
	}
	c, err := control.Dial(ctx, at)
	if err != nil {
		return err
	}
	defer c.Close()
	var version string
	if err := c.Ask(ctx, control.Request{Do: "version"}, &version); err != nil {
		return err
	}
	if !strings.HasPrefix(version, "vvufwd") {
		return fmt.Errorf("the version is %q", version)
	}
	return nil
}

// scrape reads a page of metrics.
func scrape(address string) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if !strings.Contains(string(page), "vvufwd_") {
		return errors.New("no metrics in the page")
	}
	return nil
}
