// Package tree writes the same files to the same bytes: trees of files in memory, as archives and into directories, in which nothing
// depends on when and where they were made.
package tree

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// File is one file.
type File struct {
	Mode os.FileMode // permission bits
	Body []byte
}

// Tree are files by their paths.
type Tree map[string]File

// Add adds what can only be read.
func (t Tree) Add(name string, body []byte) { t[name] = File{0o644, body} }

// AddProgram adds what can be run.
func (t Tree) AddProgram(name string, body []byte) { t[name] = File{0o755, body} }

// Names are the files' paths, sorted.
func (t Tree) Names() []string { return slices.Sorted(maps.Keys(t)) }

// dirs are all directories, each before what is in it.
func (t Tree) dirs() []string {
	all := make(map[string]bool)
	for name := range t {
		for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
			all[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// TarGz writes the tree below a directory as a compressed archive.
func (t Tree) TarGz(w io.Writer, below string, when time.Time) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestCompression) // its header has neither name nor time
	if err != nil {
		return err
	}
	out := tar.NewWriter(zipped)
	put := func(name string, kind byte, mode os.FileMode, body []byte) error {
		err := out.WriteHeader(&tar.Header{
			Name: below + "/" + name, Typeflag: kind, Mode: int64(mode), Size: int64(len(body)), ModTime: when, Uname: "root", Gname: "root", Format: tar.FormatPAX,
		})
		if err == nil {
			_, err = out.Write(body)
		}
		return err
	}
	for _, dir := range append([]string{""}, t.dirs()...) {
		if dir != "" {
			dir += "/"
		}
		if err := put(dir, tar.TypeDir, 0o755, nil); err != nil {
			return err
		}
	}
	for _, name := range t.Names() {
		if err := put(name, tar.TypeReg, t[name].Mode, t[name].Body); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), zipped.Close())
}

// Write writes the tree into a directory, whose times are all when. Permissions are as given whatever the umask.
func (t Tree) Write(dir string, when time.Time) error {
	for _, name := range t.Names() {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(file, t[name].Body, 0o644), os.Chmod(file, t[name].Mode), os.Chtimes(file, when, when)); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	dirs := append(t.dirs(), ".")
	slices.Reverse(dirs)
	for _, name := range dirs {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.Chmod(file, 0o755), os.Chtimes(file, when, when)); err != nil {
			return err
		}
	}
	return nil
}
