package confine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStoppedLeavesNothingOpen: a program that was asked to stop has its files for itself again
// and can undo what it has done to what they are of.
func TestStoppedLeavesNothingOpen(t *testing.T) {
	const name = "handed over in vain"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	stop := make(Stop, 1)
	stop <- unix.SIGTERM
	failed := make(chan error)
	go func() { failed <- Policy{}.Start([]string{"x"}, map[string]*os.File{name: f}, stop) }() // the thread ends with it
	if err := <-failed; !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.Contains(to, name) {
			open++
		}
	}
	if open != 1 {
		t.Errorf("the file is open %d times", open)
	}
}
