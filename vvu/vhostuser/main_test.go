package vhostuser

import (
	"fmt"
	"os"
	"testing"
)

// TestMain fails the package if its tests leak a file descriptor.
func TestMain(m *testing.M) {
	if r, w, err := os.Pipe(); err == nil { // makes the runtime open its poller, which stays
		r.Close()
		w.Close()
	}
	before := countFDs()
	code := m.Run()
	if after := countFDs(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "tests leaked file descriptors: %d open, %d before\n", after, before)
		code = 1
	}
	os.Exit(code)
}

func countFDs() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}
