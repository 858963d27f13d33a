package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/statictest"
	"vvufwd/vvu/vfiouser/vfiousertest"
)

// Scripts know two vvudevs: the one that tests are built with, and that may have the
// race detector, keeps its privileges; the other is built as it is shipped.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vvudev": func() {
			os.Args = append(os.Args, "--no-confine")
			main()
		},
		"hold":   hold,
		"client": client,
		"lend":   lend,
	})
}

func TestScripts(t *testing.T) { play(t, "testdata/script", nil) }

// TestConfined plays scripts with vvudev as it is shipped, which gives up its
// privileges.
func TestConfined(t *testing.T) {
	dir := t.TempDir()
	if err := statictest.Build(dir, "vvudev"); err != nil {
		t.Fatal(err)
	}
	confinedIn(t, dir)
	t.Run("starts", func(t *testing.T) { testStarts(t, filepath.Join(dir, "vvudev")) })
}

// TestConfinedWithCgo is for who builds with "go build" where there is a C compiler.
func TestConfinedWithCgo(t *testing.T) {
	dir := t.TempDir()
	switch err := statictest.BuildWithCgo(dir, "vvudev"); {
	case errors.Is(err, statictest.ErrNoCompiler):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	confinedIn(t, dir)
}

// testStarts has vvudev started many times, by several at a time: each has to serve, and to
// have given up all privileges by then.
func testStarts(t *testing.T, binary string) {
	const starts, starters = 300, 4
	var left atomic.Int32
	left.Store(starts)
	for range starters {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for left.Add(-1) >= 0 {
				startOnce(t, binary)
			}
		})
	}
}

func startOnce(t *testing.T, binary string) {
	dir := t.TempDir()
	monitor := filepath.Join(dir, "m")
	var out bytes.Buffer
	cmd := exec.Command(binary, "--vfio-user", monitor, "--vhost-user", filepath.Join(dir, "a"), "--ram", filepath.Join(dir, "r"), "--create-ram=2M")
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Signal(unix.SIGABRT) }) // shows where
	defer stuck.Stop()
	c, err := vfiousertest.Dial(monitor)
	for errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		time.Sleep(time.Millisecond)
		c, err = vfiousertest.Dial(monitor)
	}
	if err == nil {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapEff:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("want %q of %s", want, status)
			}
		}
		c.Close()
	}
	cmd.Process.Signal(unix.SIGTERM)
	if e := cmd.Wait(); err != nil || e != nil {
		t.Fatalf("%v, %v:\n%s", err, e, out.Bytes())
	}
}

// confinedIn plays all scripts with the vvudev in a directory.
func confinedIn(t *testing.T, dir string) {
	setup := func(env *testscript.Env) error {
		env.Setenv("PATH", dir+string(filepath.ListSeparator)+env.Getenv("PATH"))
		return nil
	}
	play(t, "testdata/script", setup)
	play(t, "testdata/confined", setup)
}

func play(t *testing.T, dir string, setup func(*testscript.Env) error) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Setup:               setup,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  status,
			"await":   await,
			"mode":    mode,
			"size":    fileSize,
			"json":    jsonLines,
			"oneline": oneLine,
			"term":    terminate,
			"threads": threads,
		},
	})
}

// threads checks a field of all threads of the program that was started last: threads
// FIELD VALUE.
func threads(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.BackgroundCmds()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", running[len(running)-1].Process.Pid))
	ts.Check(err)
	if len(files) < 2 {
		ts.Fatalf("%d threads", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		ts.Check(err)
		if strings.Contains(string(text), "\n"+args[0]+":\t"+args[1]+"\n") == neg {
			ts.Fatalf("%s: want %s, got %s", args[0], args[1], text)
		}
	}
}

// hold listens on a socket until it is interrupted: hold PATH. With "stale" it leaves
// the socket behind at once, as a process that crashed does.
func hold() {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: os.Args[1], Net: "unix"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 2 && os.Args[2] == "stale" {
		l.SetUnlinkOnClose(false)
		l.Close()
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
}

// client plugs the device in and out again: client PATH.
func client() {
	c, err := vfiousertest.Dial(os.Args[1])
	if err == nil {
		err = c.Reset()
		c.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// lend plugs the device in and lends it one page of each of some files, which have nothing in
// them: lend PATH SIZE….
func lend() {
	err := func() error {
		c, err := vfiousertest.Dial(os.Args[1])
		if err != nil {
			return err
		}
		defer c.Close()
		for i, text := range os.Args[2:] {
			var size cli.Size
			if err := size.Set(text); err != nil {
				return err
			}
			fd, err := unix.MemfdCreate("driver VM", unix.MFD_CLOEXEC)
			if err != nil {
				return err
			}
			if err := unix.Ftruncate(fd, int64(size)); err != nil {
				return err
			}
			if err := c.MapDMA(uint64(i)<<20, 4096, fd, 0); err != nil {
				return fmt.Errorf("file %d: %w", i, err)
			}
		}
		return c.Reset()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// status runs a program and checks its exit code: status N PROGRAM ARGS….
func status(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		exit, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = fmt.Sprint(exit.ExitCode())
	}
	if neg || got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// await waits for files to appear.
func await(ts *testscript.TestScript, neg bool, args []string) {
	for _, path := range args {
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(ts.MkAbs(path)); (err != nil) == neg {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%s: nothing happened within 10 s", path)
			}
		}
	}
}

// mode checks the permissions of a file: mode 600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", st.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// fileSize checks the size of a file: size BYTES FILE.
func fileSize(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprint(st.Size()); got != args[0] {
		ts.Fatalf("%s has %s bytes, want %s", args[1], got, args[0])
	}
}

// jsonLines checks that a file consists of JSON objects, one a line.
func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	for line := range bytes.Lines([]byte(ts.ReadFile(args[0]))) {
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			ts.Fatalf("%s: %v", line, err)
		}
	}
}

// oneLine checks that a file has just one line.
func oneLine(ts *testscript.TestScript, _ bool, args []string) {
	if text := ts.ReadFile(args[0]); bytes.Count([]byte(text), []byte("\n")) != 1 {
		ts.Fatalf("want one line, got %q", text)
	}
}

// terminate sends SIGTERM to the program that was started last.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	running := ts.BackgroundCmds()
	ts.Check(running[len(running)-1].Process.Signal(unix.SIGTERM))
}
