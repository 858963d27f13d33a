package confine

import (
	"bufio"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A program that is to die with its parent still does when it has executed itself.
func TestDiesWithItsParent(t *testing.T) {
	onBoth(t, func(t *testing.T, probe string) {
		cmd := commandOf(t, probe, role{Steps: []string{"start"}, Act: "wait a minute"})
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		started := make(chan error)
		var start func()
		start = func() {
			runtime.LockOSThread() // a child's parent is a thread, and this one ends with the goroutine,
			if unix.Gettid() == unix.Getpid() {
				go start() // unless it is the first one
				select {}
			}
			err := cmd.Start()
			for err == nil && !strings.Contains(lines.Text(), "waiting") {
				if !lines.Scan() {
					err = errors.New("it does not wait")
				}
			}
			started <- err
		}
		go start()
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
			t.Errorf("it ended with %v", err)
		}
	})
}
