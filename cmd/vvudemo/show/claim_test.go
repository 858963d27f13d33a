package show

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestOneWritesThere refuses a second vvudemo in the first one's output directory, until that has ended.
func TestOneWritesThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "build", "demo")
	first, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := claim(dir); err == nil {
		f.Close()
		t.Error("two have it")
	} else if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--build") {
		t.Errorf("the error says neither where nor what to do: %v", err)
	}
	first.Close()
	again, err := claim(dir)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Close()
}
