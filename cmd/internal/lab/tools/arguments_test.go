package tools

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A program that does not know the question has not answered it.
func TestOlderVvufwdChecksNothing(t *testing.T) {
	old := filepath.Join(t.TempDir(), "vvufwd")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho 'vvufwd: unexpected argument \"check\"; see --help' >&2\nexit 2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := CheckArguments(t.Context(), old, "--args", []string{"--noiommu"}); !errors.Is(err, ErrNotChecked) {
		t.Error(err)
	}
}
