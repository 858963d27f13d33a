package show

import (
	"os"
	"testing"
	"time"
)

// TestCPUTime wants the time that this process spends to be seen, and a process that has ended to be an error.
func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		after, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after-before > 10*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %v of CPU time", after-before)
		}
	}
	if _, err := cpuTime(1 << 30); err == nil {
		t.Error("a process that does not exist has CPU time")
	}
}
