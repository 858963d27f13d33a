package initramfs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"

	"vvufwd/cmd/internal/cli"
)

// archive gathers the entries of one image. Parent directories are added by themselves. It is owned by one goroutine.
type archive struct {
	entries map[string]entry // by path without leading slash
}

// entry is one file, directory or symbolic link.
type entry struct {
	mode cpio.FileMode
	// body is the content of a file or the target of a symbolic link.
	body []byte
}

func newArchive() *archive {
	return &archive{entries: make(map[string]entry)}
}

// dir adds a directory.
func (a *archive) dir(name string) {
	a.put(name, entry{mode: cpio.TypeDir | 0o755})
}

// file adds a file with the given permission bits.
func (a *archive) file(name string, perm cpio.FileMode, body []byte) {
	a.put(name, entry{mode: cpio.TypeReg | perm, body: body})
}

// link adds a symbolic link.
func (a *archive) link(name, target string) {
	a.put(name, entry{mode: cpio.TypeSymlink | 0o777, body: []byte(target)})
}

// copy adds the file at host path from.
func (a *archive) copy(name string, perm cpio.FileMode, from string) error {
	body, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read %s for the initramfs: %w", from, cli.Unnamed(err))
	}
	a.file(name, perm, body)
	return nil
}

func (a *archive) put(name string, e entry) {
	name = strings.Trim(path.Clean("/"+name), "/")
	a.entries[name] = e
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		if _, known := a.entries[parent]; known {
			return
		}
		a.entries[parent] = entry{mode: cpio.TypeDir | 0o755}
	}
}

// write emits the whole archive. Sorting puts every directory before what is in it.
func (a *archive) write(w io.Writer) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // unpacking counts, at every boot; a few per cent of size do not
	if err != nil {
		return err
	}
	out := cpio.NewWriter(zipped)
	names := make([]string, 0, len(a.entries))
	for name := range a.entries {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		e := a.entries[name]
		links := 1
		if e.mode&^cpio.ModePerm == cpio.TypeDir {
			links = 2
		}
		header := &cpio.Header{Name: name, Mode: e.mode, Size: int64(len(e.body)), Links: links}
		if err := out.WriteHeader(header); err != nil {
			return fmt.Errorf("initramfs entry %s: %w", name, err)
		}
		if _, err := io.Copy(out, bytes.NewReader(e.body)); err != nil {
			return fmt.Errorf("initramfs entry %s: %w", name, err)
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

// save writes the archive to the file at path, whole or not at all, and returns its size in bytes.
func (a *archive) save(path string) (int64, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".initramfs-*")
	if err != nil {
		return 0, fmt.Errorf("write initramfs: %w", err)
	}
	defer os.Remove(f.Name()) // fails once the file has its final name
	defer f.Close()
	if err := a.write(f); err != nil {
		return 0, fmt.Errorf("write initramfs %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("write initramfs %s: %w", path, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return 0, fmt.Errorf("write initramfs %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, fmt.Errorf("write initramfs: %w", err)
	}
	return info.Size(), nil
}
