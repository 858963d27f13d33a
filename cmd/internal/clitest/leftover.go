package clitest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leavesNothingRunning has a test fail that ends while programs of a directory run, and ends them. Those that were told to end
// just before have time to.
func leavesNothingRunning(t *testing.T, dir string) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			running := programsOf(dir)
			if len(running) == 0 {
				return
			}
			if time.Now().Before(deadline) {
				continue
			}
			for pid, args := range running {
				t.Errorf("process %d still runs: %s", pid, args)
				unix.Kill(pid, unix.SIGKILL)
			}
			return
		}
	})
}

// programsOf returns the processes whose programs are in a directory, with their arguments.
func programsOf(dir string) map[int]string {
	running := map[int]string{}
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if exe, err := os.Readlink(link); err != nil || filepath.Dir(exe) != dir {
			continue // another's, or one that has ended
		}
		process := filepath.Dir(link)
		args, _ := os.ReadFile(process + "/cmdline")
		pid, _ := strconv.Atoi(filepath.Base(process))
		running[pid] = strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " ")
	}
	return running
}
