//go:build race

package confine

import (
	"errors"
	"testing"

	"go.uber.org/zap"
)

// TestCgo is for the race detector, which brings cgo in: a program that cannot be
// confined says so and is left as it is.
func TestCgo(t *testing.T) {
	if err := (Policy{}).Apply(zap.NewNop()); !errors.Is(err, ErrCgo) {
		t.Fatalf("error %v, want %v", err, ErrCgo)
	}
	if status := readStatus(t, "/proc/self/status"); status["Seccomp"] != "0" || status["NoNewPrivs"] != "0" {
		t.Errorf("seccomp %q, no_new_privs %q", status["Seccomp"], status["NoNewPrivs"])
	}
}
