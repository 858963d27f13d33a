package tree

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func sample() Tree {
	t := make(Tree)
	t.AddProgram("bin/b", []byte("program"))
	t.Add("a", []byte("text"))
	t.Add("bin/deep/c", nil)
	return t
}

var when = time.Unix(1700000000, 0)

func TestTarGz(t *testing.T) {
	var first, second bytes.Buffer
	if err := errors.Join(sample().TarGz(&first, "top", when), sample().TarGz(&second, "top", when)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same tree gives other bytes")
	}
	zipped, err := gzip.NewReader(&first)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for in := tar.NewReader(zipped); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		want := int64(0o644)
		if h.Typeflag == tar.TypeDir || h.Name == "top/bin/b" {
			want = 0o755
		}
		if h.Mode != want || !h.ModTime.Equal(when) || h.Uid != 0 || h.Uname != "root" {
			t.Errorf("%+v", h)
		}
	}
	if want := []string{"top/", "top/bin/", "top/bin/deep/", "top/a", "top/bin/b", "top/bin/deep/c"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := sample().Write(dir, when); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"a": 0o644, "bin": 0o755 | os.ModeDir, "bin/b": 0o755, "bin/deep": 0o755 | os.ModeDir, "bin/deep/c": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode || !info.ModTime().Equal(when) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
