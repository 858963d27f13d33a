package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func contains(part string) func(string) bool {
	return func(line string) bool { return strings.Contains(line, part) }
}

// start runs a shell script as a child and closes it with the test.
func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Config{Name: "child", Argv: []string{"/bin/sh", "-c", script}, LogPath: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestExpectReadsOnFromTheMark(t *testing.T) {
	p := start(t, `echo one; echo two >&2; read x; echo "got $x"; echo one`)
	ctx := context.Background()
	line, mark, err := p.Expect(ctx, 0, 10*time.Second, "the first one", contains("one"))
	if err != nil || line != "one" {
		t.Fatalf("Expect = %q, %v", line, err)
	}
	if _, _, err := p.Expect(ctx, 0, 10*time.Second, "the error output", contains("two")); err != nil {
		t.Fatal(err)
	}
	if err := p.Send("hello"); err != nil {
		t.Fatal(err)
	}
	line, next, err := p.Expect(ctx, mark, 10*time.Second, "the second one", contains("one"))
	if err != nil || line != "one" || next <= mark {
		t.Fatalf("Expect = %q, %d, %v", line, next, err)
	}
	if err := p.WaitExit(ctx, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(p.cfg.LogPath)
	if err != nil || !bytes.Contains(log, []byte("got hello\none\n")) {
		t.Errorf("log = %q, %v", log, err)
	}
}

func TestExpectTimesOutWithTheLastLines(t *testing.T) {
	p := start(t, `echo "kernel panic"; sleep 60`)
	if _, _, err := p.Expect(context.Background(), 0, 10*time.Second, "the panic", contains("panic")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, _, err := p.Expect(context.Background(), 0, 50*time.Millisecond, "lease", contains("@@ lease"))
	if err == nil {
		t.Fatal("a line that never came was found")
	}
	for _, part := range []string{"child: no lease within 50ms", "kernel panic", p.cfg.LogPath} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("a limit of 50ms took %v", took)
	}
}

func TestExpectNoticesTheChildsEnd(t *testing.T) {
	p := start(t, `echo "qemu: bad option"; exit 3`)
	_, _, err := p.Expect(context.Background(), 0, 30*time.Second, "boot", contains("never"))
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "bad option") {
		t.Errorf("error = %v", err)
	}
	if err := p.WaitExit(context.Background(), time.Second); err == nil {
		t.Error("WaitExit calls exit status 3 a success")
	}
}

func TestExpectObeysTheContext(t *testing.T) {
	p := start(t, "sleep 60")
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("interrupted")
	cancel(why)
	if _, _, err := p.Expect(ctx, 0, time.Minute, "anything", contains("x")); !errors.Is(err, why) {
		t.Errorf("error = %v, want the context's cause", err)
	}
}

func TestCloseKillsAndMayBeRepeated(t *testing.T) {
	p := start(t, `trap "" TERM; echo up; while :; do sleep 1; done`)
	if _, _, err := p.Expect(context.Background(), 0, 10*time.Second, "start", contains("up")); err != nil {
		t.Fatal(err)
	}
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitExit(context.Background(), 20*time.Millisecond); err == nil {
		t.Error("a child that ignores SIGTERM is said to have ended")
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child still exists: %v", err)
	}
}

func TestStartNamesAMissingProgram(t *testing.T) {
	_, err := Start(Config{Name: "driver VM", Argv: []string{"/nonexistent/qemu"}, LogPath: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/qemu") || !strings.Contains(err.Error(), "driver VM") {
		t.Errorf("error = %v", err)
	}
}

func TestConsoleForgetsOldLines(t *testing.T) {
	var seen int
	c := newConsole(func(string) { seen++ })
	for i := range 3 * keptLines {
		c.add(fmt.Sprint("line ", i))
	}
	c.close()
	if len(c.lines) > keptLines {
		t.Errorf("%d lines kept", len(c.lines))
	}
	if seen != 3*keptLines {
		t.Errorf("%d lines seen", seen)
	}
	last := fmt.Sprint("line ", 3*keptLines-1)
	line, next, err := c.Wait(context.Background(), 0, contains(last))
	if err != nil || line != last || next != 3*keptLines || c.Mark() != next {
		t.Errorf("Wait = %q, %d, %v; Mark = %d", line, next, err, c.Mark())
	}
	if _, _, err := c.Wait(context.Background(), next, contains("")); !errors.Is(err, ErrConsoleClosed) {
		t.Errorf("Wait at the end = %v", err)
	}
}

func TestReadLinesCleansTerminalOutput(t *testing.T) {
	c := newConsole(nil)
	c.readLines(strings.NewReader("\x1b[2J\x1b[01;00HSeaBIOS\r\n\x1bcboot\tok\x07\r\n" + strings.Repeat("x", maxLine+1) + "\nlast"))
	want := []string{"SeaBIOS", "boot\tok", strings.Repeat("x", maxLine), "x", "last"}
	if diff := cmp.Diff(want, c.lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestConsoleConcurrently lets several waiters look for lines while another goroutine adds them.
func TestConsoleConcurrently(t *testing.T) {
	c := newConsole(nil)
	var waiters sync.WaitGroup
	for i := range 8 {
		waiters.Go(func() {
			want := fmt.Sprint("line ", 100*i)
			if line, _, err := c.Wait(t.Context(), 0, func(l string) bool { return l == want }); err != nil || line != want {
				t.Errorf("Wait = %q, %v", line, err)
			}
		})
	}
	for i := range 800 {
		c.add(fmt.Sprint("line ", i))
	}
	waiters.Wait()
}

// A machine whose kernel runs a breakpoint that QEMU has kept is started anew, once, and whoever waits for it goes on waiting. One that
// was killed is not.
func TestStartedAnew(t *testing.T) {
	first := filepath.Join(t.TempDir(), "first")
	oops := "echo '[    5.9] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI'; "
	p := start(t, "if mkdir "+first+"; then "+oops+"exit; fi; echo ready; read x; echo got $x")
	if _, _, err := p.Expect(t.Context(), 0, time.Minute, "the second start", contains("ready")); err != nil {
		t.Fatal(err)
	}
	if err := p.Send("hello"); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitExit(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Wait(t.Context(), 0, contains("got hello")); err != nil {
		t.Error(err)
	}
	again := start(t, oops)
	if err := again.WaitExit(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(strings.Join(again.Tail(100), "\n"), "#1"); n != 2 {
		t.Errorf("it was started %d times", n)
	}
	killed := start(t, oops+"exec sleep 60")
	if _, _, err := killed.Expect(t.Context(), 0, time.Minute, "oops", contains("Oops")); err != nil {
		t.Fatal(err)
	}
	if err := killed.Close(); err != nil || strings.Count(strings.Join(killed.Tail(100), "\n"), "#1") != 1 {
		t.Errorf("%v; it printed %q", err, killed.Tail(100))
	}
}
