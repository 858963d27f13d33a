package tools

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
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

// Something else may say more than anyone wants to hear, and leave what holds on to its output.
func TestAnotherProgramChecksNothing(t *testing.T) {
	other := filepath.Join(t.TempDir(), "vvufwd")
	if err := os.WriteFile(other, []byte("#!/bin/sh\nhead -c 1000000 /dev/zero >&2\nsleep 60 &\necho $! >$0.left\nexit 2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if out, err := exec.Command("sh", "-c", "kill $(cat "+other+".left)").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}()
	began := time.Now()
	err := CheckArguments(t.Context(), other, "--args", []string{"--noiommu"})
	if took := time.Since(began); !errors.Is(err, ErrNotChecked) || took > checkTime {
		t.Errorf("%v after %v", err, took)
	}
	var said beginning
	for range 3 {
		if n, err := said.Write(make([]byte, checkBytes/2+1)); n != checkBytes/2+1 || err != nil {
			t.Error(n, err)
		}
	}
	if n := len(said.String()); n != checkBytes {
		t.Errorf("%d bytes are kept", n)
	}
}
