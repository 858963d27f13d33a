package vm

import (
	"os"
	"strings"
	"testing"
)

func TestSocketDirIsShortAndPrivate(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+strings.Repeat("/long", 20))
	dir, err := SocketDir("test")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	if len(dir) > longestSocketDir {
		t.Errorf("%s has %d bytes", dir, len(dir))
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode = %v, %v", info, err)
	}
}
