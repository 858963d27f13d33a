package clitest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/statictest"
)

// Static builds programs of this module as they are shipped, for this test, and returns the
// directory with them. None of them may run on when the test ends.
func Static(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	leavesNothingRunning(t, dir)
	if err := statictest.Build(dir, programs...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// WithCgo builds programs as "go build" does where there is a C compiler. Without one the
// test is skipped. None of them may run on when the test ends.
func WithCgo(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	leavesNothingRunning(t, dir)
	switch err := statictest.BuildWithCgo(dir, programs...); {
	case errors.Is(err, statictest.ErrNoCompiler):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return dir
}

// Start is a program that is started for a test of its start.
type Start struct {
	Args []string
	// Ask asks the program something at a socket. Its error is nil when the program has answered, until when it must
	// have given up its privileges. Close ends the connection.
	Ask func() (close func(), err error)
}

// Starts has a program started many times, by several at a time, as by a service manager: each has to say that it is ready, to
// answer whoever connects then, and to have given up all privileges when it does.
func Starts(t *testing.T, binary string, prepare func(dir string) Start) {
	const starts, starters = 160, 4
	var left atomic.Int32
	left.Store(starts)
	for range starters {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for left.Add(-1) >= 0 {
				startOnce(t, binary, prepare(t.TempDir()))
			}
		})
	}
}

func startOnce(t *testing.T, binary string, s Start) {
	var out bytes.Buffer
	cmd := exec.Command(binary, s.Args...)
	cmd.Stderr = &out
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(t.TempDir(), "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	manager.SetReadDeadline(time.Now().Add(time.Minute))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+manager.LocalAddr().String())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Signal(unix.SIGABRT) }) // shows where
	defer stuck.Stop()
	var told [64]byte
	n, err := manager.Read(told[:])
	if err == nil && string(told[:n]) != "READY=1" {
		err = fmt.Errorf("it tells the manager %q", told[:n])
	}
	var hangUp func()
	if err == nil {
		hangUp, err = s.Ask()
	}
	if err == nil {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapEff:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("want %q of %s", want, status)
			}
		}
		hangUp()
	}
	cmd.Process.Signal(unix.SIGTERM)
	if e := cmd.Wait(); err != nil || e != nil {
		t.Fatalf("%v, %v:\n%s", err, e, out.Bytes())
	}
}
