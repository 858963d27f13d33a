package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vvufwd/cmd/internal/channel"
	"vvufwd/cmd/internal/channel/channeltest"
)

// serve has a server answer at a socket until the test ends.
func serve(t *testing.T, s *Server) channel.Address {
	t.Helper()
	return channeltest.Serve(t, s.Serve)
}

func dial(t *testing.T, a channel.Address) *Client {
	t.Helper()
	c, err := Dial(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echo answers with what it was asked.
func echo(r Request) (any, error) {
	if r.Do == Links {
		return nil, errors.New("no links")
	}
	return r, nil
}

func TestAnswers(t *testing.T) {
	reading := serve(t, &Server{Do: echo, Refusal: "say so"})
	c := dial(t, reading)
	var got Request
	for _, do := range []string{Stats, Version, LogLevel} {
		if err := c.Ask(t.Context(), Request{Do: do}, &got); err != nil || got.Do != do {
			t.Errorf("%s: %+v, %v", do, got, err)
		}
	}
	refused := func(r Request, want string) {
		t.Helper()
		err := c.Ask(t.Context(), r, &got)
		if _, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
	refused(Request{Do: Links}, "no links")
	refused(Request{Do: LogLevel, Set: "debug"}, "may be asked and not told: say so")
	refused(Request{Do: "reboot"}, `there is no "reboot", want one of ports, stats,`)
	refused(Request{Do: Captures, Set: "loud"}, `on or off, not "loud"`)
	refused(Request{Do: Ports, Set: On}, "ports cannot be set")
	refused(Request{Do: Stats, Port: "a"}, "a port is for setting a capture")
	writing := dial(t, serve(t, &Server{Do: echo, Write: true}))
	if err := writing.Ask(t.Context(), Request{Do: Captures, Set: On, Port: "a"}, &got); err != nil || got.Port != "a" {
		t.Errorf("to be told: %+v, %v", got, err)
	}
}

// What is no request is answered with what is wrong, and the next request is answered. One that does not end is hung up on.
func TestLinesThatAreNoRequests(t *testing.T) {
	a := serve(t, &Server{Do: echo})
	conn, err := a.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	for line, want := range map[string]string{
		"hello": "not a request", "{}": `there is no \"\"`, `{"do":"stats"} {"do":"stats"}`: "one request a line", `{"do":"stats","x":1}`: "unknown field",
		`{"do":"stats","id":"` + strings.Repeat("x", maxID+1) + `"}`: "at most 64 bytes", `[1]`: "not a request", "\x00\xff": "not a request", `{"do":1}`: "not a request",
		`{"do":"stats","id":"7"}`: `{"id":"7","data":{"id":"7","do":"stats"}}`,
	} {
		fmt.Fprintf(conn, "\n%s\r\n", line)
		if got, err := in.ReadString('\n'); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v, want %q", line, got, err, want)
		}
	}
	go conn.Write(bytes.Repeat([]byte("x"), 3*MaxRequest))
	rest, err := io.ReadAll(in)
	if !strings.Contains(string(rest), "too long") && err == nil { // unless the answer is lost, as what was sent is not read
		t.Errorf("one that does not end: %q, %v", rest, err)
	}
}

// Many clients that ask all the time, that do not ask, and that do not read keep no other from being answered; nor is one
// answered more often than the pace says.
func TestCrowd(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	a := serve(t, &Server{Do: func(r Request) (any, error) {
		if r.Do == Version {
			return "v", nil
		}
		return big, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	for i := range 3 * MaxClients {
		crowd.Go(func() {
			for ctx.Err() == nil {
				conn, err := a.Dial(ctx)
				if err != nil {
					continue
				}
				switch i % 3 {
				case 0: // does nothing
				case 1: // does not read
					conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
					for range 100 {
						fmt.Fprintln(conn, `{"do":"stats"}`)
					}
				case 2:
					fmt.Fprint(conn, `{"do":"st`)
				}
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				conn.Close()
			}
		})
	}
	good := 0
	for deadline := time.Now().Add(time.Minute); good < 5 && time.Now().Before(deadline); {
		c, err := Dial(ctx, a)
		if err != nil {
			continue
		}
		var v string
		if c.Ask(ctx, Request{Do: Version}, &v) == nil && v == "v" {
			good++
		}
		c.Close()
	}
	cancel()
	crowd.Wait()
	if good < 5 {
		t.Errorf("%d answers in a crowd", good)
	}
	conn, err := a.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	start := time.Now()
	go io.WriteString(conn, strings.Repeat("{\"do\":\"version\"}\n", 20))
	conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	for range 20 {
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took < 19*pace {
		t.Errorf("20 answers in %v", took)
	}
}

// half is a stream that takes so many bytes until its deadline.
type half struct {
	out  bytes.Buffer
	room int
}

func (h *half) SetWriteDeadline(time.Time) error { return nil }
func (h *half) Write(p []byte) (int, error) {
	if len(p) > h.room {
		n, _ := h.out.Write(p[:h.room])
		h.room = 0
		return n, os.ErrDeadlineExceeded
	}
	h.room -= len(p)
	return h.out.Write(p)
}

// visits are what clients of a stream send, one after the other.
type visits struct{ left [][]byte }

func (v *visits) Read(p []byte) (int, error) {
	if len(v.left) == 0 {
		return 0, errors.New("unplugged")
	}
	if len(v.left[0]) == 0 {
		v.left = v.left[1:]
		return 0, io.EOF
	}
	n := copy(p, v.left[0])
	v.left[0] = v.left[0][n:]
	return n, nil
}

// Where one client after the other has the other end of a stream, none is bothered by what another has left: half a request, one
// that does not end, an answer that was not taken.
func TestStream(t *testing.T) {
	s := &Server{Do: echo}
	in := &visits{[][]byte{
		[]byte(`{"do":"sta`), []byte("\n" + `{"do":"stats","id":"1"}` + "\n"), bytes.Repeat([]byte("y"), 3*MaxRequest), []byte("\n" + `{"do":"stats","id":"2"}` + "\n"),
		append(bytes.Repeat([]byte("z"), 2*MaxRequest), "\n"+`{"do":"stats","id":"3"}`+"\n"...),
	}}
	var out half
	out.room = 1 << 20
	if err := s.serveStream(t.Context(), in, &out); err == nil || err.Error() != "unplugged" {
		t.Errorf("it ends with %v", err)
	}
	for _, id := range []string{"1", "2", "3"} {
		if !strings.Contains(out.out.String(), `{"id":"`+id+`","data":`) {
			t.Errorf("request %s has no answer in %s", id, &out.out)
		}
	}
	if n := strings.Count(out.out.String(), errTooLong.Error()); n != 2 {
		t.Errorf("%d answers to what does not end: %s", n, &out.out)
	}
	var cut half
	cut.room = 10
	in = &visits{[][]byte{[]byte(`{"do":"stats","id":"1"}` + "\n")}}
	ctx := t.Context()
	in.left = append(in.left, []byte(`{"do":"stats","id":"2"}`+"\n"))
	room := &cut
	grow := func(r Request) (any, error) {
		if r.ID == "2" {
			room.room = 1 << 20
		}
		return r.ID, nil
	}
	(&Server{Do: grow}).serveStream(ctx, in, room)
	if lines := strings.Split(cut.out.String(), "\n"); len(lines) != 3 || lines[1] != `{"id":"2","data":"2"}` {
		t.Errorf("after an answer that was cut: %q", lines)
	}
}

// A client takes no answers of others, none that is no answer, and waits no longer than it is told to.
func TestClientOfSomethingElse(t *testing.T) {
	a := channel.Address{Kind: channel.UNIX, Path: filepath.Join(t.TempDir(), "s")}
	l, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go channel.Serve(ctx, l, 4, func(_ context.Context, conn *channel.Conn) {
		in := bufio.NewScanner(conn)
		for in.Scan() {
			var r Request
			if json.Unmarshal(in.Bytes(), &r) != nil {
				continue
			}
			switch r.Do {
			case Version:
				fmt.Fprintf(conn, "rubbish\n{}\n{\"id\":\"other\",\"data\":\"x\"}\n{\"id\":%q,\"data\":\"right\"}\n", r.ID)
			case Ports:
				fmt.Fprintf(conn, "{\"id\":%q,\"data\":\"not ports\"}\n", r.ID)
			case Stats:
				for range 2 * MaxAnswer >> 20 {
					if _, err := conn.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
						return
					}
				}
			}
		}
	})
	c := dial(t, a)
	var v string
	if err := c.Ask(ctx, Request{Do: Version}, &v); err != nil || v != "right" {
		t.Errorf("%q, %v", v, err)
	}
	var ports []Port
	if err := c.Ask(ctx, Request{Do: Ports}, &ports); err == nil || !strings.Contains(err.Error(), "not understood") {
		t.Errorf("what is no list of ports: %v", err)
	}
	if err := dial(t, a).Ask(ctx, Request{Do: Stats}, &v); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("an answer that does not end: %v", err)
	}
	short, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	if err := dial(t, a).Ask(short, Request{Do: Links}, &v); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("no answer: %v", err)
	}
}

// FuzzRequest parses what clients send: a request that is taken is one that can be carried out, and stays the same when sent again.
func FuzzRequest(f *testing.F) {
	for _, line := range []string{`{"do":"stats"}`, `{"id":"1","do":"capture","set":"on","port":"a"}`, `{"do":"log-level","set":"debug"}`, `{"do":"x"}`, `{`, "", `{"do":"stats"}x`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRequest(line)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || len(r.ID) > maxID {
				t.Errorf("%+v, %q", r, err)
			}
			answer(r.ID, nil, err)
			return
		}
		if len(line) > MaxRequest || len(r.ID) > maxID || r.Writes() && r.Do != Captures && r.Do != LogLevel {
			t.Errorf("taken: %+v", r)
		}
		again, _ := json.Marshal(r)
		if second, err := ParseRequest(again); err != nil || second != r {
			t.Errorf("%+v becomes %+v, %v", r, second, err)
		}
	})
}
