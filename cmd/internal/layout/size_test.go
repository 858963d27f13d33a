package layout

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// longest is how many lines a file may have that is no test's: one subject.
const longest = 400

func TestFilesAreShort(t *testing.T) {
	root := os.DirFS("../../..")
	files := 0
	for _, dir := range []string{"cmd", "netfwd", "vfio", "virtio", "vvu"} {
		err := fs.WalkDir(root, dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || forTests(path.Dir(name)) {
				return err
			}
			text, err := fs.ReadFile(root, name)
			if n := bytes.Count(text, []byte("\n")); n > longest {
				t.Errorf("%s has %d lines, more than %d: give it one subject", name, n, longest)
			}
			files++
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 100 {
		t.Fatalf("only %d files were found", files)
	}
}
