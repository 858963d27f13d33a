package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// programs are the binaries under test.
var programs struct{ vvufwd, vvugen string }

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+"/", "vvufwd/cmd/vvufwd", "vvufwd/cmd/vvugen")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are shipped
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs under test: %v\n%s", err, out)
		return 1
	}
	programs.vvufwd, programs.vvugen = filepath.Join(dir, "vvufwd"), filepath.Join(dir, "vvugen")
	return m.Run()
}

// soakTime is the length of the soak in the long form, and zero in the short one.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAKTIME")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("SOAKTIME=%s: want a duration such as 10m", text)
	}
	return d
}

// cycles is how often something is repeated in the two forms.
func cycles(t *testing.T, short, long int) int {
	t.Helper()
	if soakTime(t) > 0 {
		return long
	}
	return short
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for this: %s", patience, what)
		}
	}
}

// patience is how long anything may take that should take milliseconds: other
// tests may be busy on the same few CPUs.
const patience = 30 * time.Second
