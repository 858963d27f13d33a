package vvu

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"vvufwd/vvu/vvutest"
)

// TestMain fails the package if its tests leak a file descriptor or a goroutine.
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
	if left := settledGoroutines(1); code == 0 && left > 1 {
		stacks := make([]byte, 1<<16)
		fmt.Fprintf(os.Stderr, "tests leaked goroutines:\n%s\n", stacks[:runtime.Stack(stacks, true)])
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

// settledGoroutines counts goroutines, giving those that end a moment to do so.
func settledGoroutines(want int) int {
	for deadline := time.Now().Add(vvutest.Patience); ; time.Sleep(time.Millisecond) {
		if n := runtime.NumGoroutine(); n <= want || time.Now().After(deadline) {
			return n
		}
	}
}
