// Package release gathers a release: it builds the programs for each processor and packs them with all that belongs to them.
package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/dist/bom"
	"vvufwd/cmd/internal/dist/deb"
	"vvufwd/cmd/internal/dist/tree"
	"vvufwd/cmd/internal/dist/units"
	"vvufwd/cmd/internal/lab/initramfs"
)

// Release is what to make.
type Release struct {
	Source   string // directory of the module
	Commands []string
	Archs    []string // Go's names of processors
	DebsOnly bool
}

// Write makes a release in a directory, in place of what is there.
func (r Release) Write(ctx context.Context, out string) error {
	work, err := os.MkdirTemp("", "dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	archs := r.Archs
	if !slices.Contains(archs, here) { // programs say of themselves what their manual pages say
		archs = append(slices.Clone(archs), here)
	}
	for _, arch := range archs {
		if err := r.build(ctx, arch, filepath.Join(work, arch)); err != nil {
			return err
		}
	}
	common, err := r.common(ctx, filepath.Join(work, here))
	if err != nil {
		return err
	}
	written := make(tree.Tree)
	for _, arch := range r.Archs {
		if err := r.pack(ctx, common, arch, filepath.Join(work, arch), written); err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
	}
	var sums bytes.Buffer
	for _, name := range written.Names() {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(written[name].Body), name)
	}
	written.Add("SHA256SUMS", sums.Bytes())
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return written.Write(out, common.when)
}

// shared is what is the same for all processors.
type shared struct {
	version  string
	when     time.Time
	programs []cli.Description
	pages    map[string][]byte
	files    tree.Tree // of the archives

	documents tree.Tree // of the archives and of packages
}

// documented is what the programs in the directory bin say of themselves, and their manual pages.
func (r Release) documented(ctx context.Context, bin string) (s shared, err error) {
	if s.version, s.when, err = origin(filepath.Join(bin, r.Commands[0])); err != nil {
		return s, err
	}
	if s.programs, err = r.describe(ctx, bin); err != nil {
		return s, err
	}
	s.pages, err = r.pages(s)
	return s, err
}

func (r Release) common(ctx context.Context, bin string) (s shared, err error) {
	if s, err = r.documented(ctx, bin); err != nil {
		return s, err
	}
	s.files = make(tree.Tree)
	for name, text := range s.pages {
		s.files.Add("man/"+inSection(name), text)
	}
	for name, text := range units.Files() {
		s.files.Add("systemd/"+name, text)
	}
	for _, d := range s.programs {
		for shell, place := range completionPlaces {
			var b bytes.Buffer
			if err := d.Complete(shell, &b); err != nil {
				return s, err
			}
			s.files.Add("completion/"+shell+"/"+place.file(d.Program), b.Bytes())
		}
	}
	license, err := os.ReadFile(filepath.Join(r.Source, "LICENSE"))
	if err != nil {
		return s, err
	}
	s.files.Add("LICENSE", license)
	if s.documents, err = documents(r.Source); err != nil {
		return s, err
	}
	maps.Copy(s.files, s.documents)
	return s, nil
}

// place is where a shell looks for completions, and what it wants their files to be called.
type place struct{ dir, before, after string }

func (p place) file(program string) string { return p.before + program + p.after }

var completionPlaces = map[string]place{
	"bash": {dir: "usr/share/bash-completion/completions"},
	"zsh":  {dir: "usr/share/zsh/vendor-completions", before: "_"},
	"fish": {dir: "usr/share/fish/vendor_completions.d", after: ".fish"},
}

// pack adds the files of one processor to those that are written.
func (r Release) pack(ctx context.Context, s shared, arch, bin string, written tree.Tree) error {
	programs := make(map[string][]byte)
	for _, c := range r.Commands {
		body, err := os.ReadFile(filepath.Join(bin, c))
		if err != nil {
			return err
		}
		programs["bin/"+c] = body
	}
	list, err := bom.Of(programs, s.when)
	if err != nil {
		return err
	}
	image, err := driverImage(filepath.Join(bin, "vvufwd"))
	if err != nil {
		return err
	}
	if err := r.addDeb(ctx, s, arch, programs, list, image, written); err != nil || r.DebsOnly {
		return err
	}
	name := fmt.Sprintf("vvufwd-%s-linux-%s", s.version, arch)
	files := maps.Clone(s.files)
	for path, body := range programs {
		files.AddProgram(path, body)
	}
	files.Add("driver.cpio.gz", image)
	files.Add("vvufwd.cdx.json", list)
	var archive bytes.Buffer
	if err := files.TarGz(&archive, name, s.when); err != nil {
		return err
	}
	written.Add(name+".tar.gz", archive.Bytes())
	written.Add(name+".cdx.json", list)
	written.Add(fmt.Sprintf("driver-%s-%s.cpio.gz", s.version, arch), image)
	return nil
}

// driverImage is a driver VM's initramfs without kernel modules, for kernels that have all built in.
func driverImage(vvufwd string) ([]byte, error) {
	file := vvufwd + ".cpio.gz"
	if _, err := (initramfs.Driver{Init: vvufwd}).Save(file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// addDeb adds the Debian package.
func (r Release) addDeb(ctx context.Context, s shared, arch string, programs map[string][]byte, list, image []byte, written tree.Tree) error {
	files := make(tree.Tree)
	for path, body := range programs {
		files.AddProgram("usr/"+path, body)
	}
	for name, page := range s.pages {
		zipped, err := deb.Gzip(page)
		if err != nil {
			return err
		}
		files.Add("usr/share/man/"+inSection(name)+".gz", zipped)
	}
	for _, d := range s.programs {
		for shell, place := range completionPlaces {
			files[place.dir+"/"+place.file(d.Program)] = s.files["completion/"+shell+"/"+place.file(d.Program)]
		}
	}
	for name, text := range units.Files() {
		switch {
		case filepath.Ext(name) == ".service":
			files.Add("usr/lib/systemd/system/"+name, text)
		case filepath.Dir(name) == units.DropIns: // which are not documents, that may be left out
			files.Add("usr/share/vvufwd/"+name, text)
		default:
			files.Add("usr/share/doc/vvufwd/examples/"+name, text)
		}
	}
	for name, file := range s.documents {
		files["usr/share/doc/vvufwd/"+name] = file
	}
	files.Add("usr/share/vvufwd/driver.cpio.gz", image)
	files.Add("usr/share/doc/vvufwd/vvufwd.cdx.json", list)
	p := deb.Package{Version: s.version, Arch: arch, When: s.when, Files: files}
	dir, err := os.MkdirTemp("", "deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, p.Name())
	if err := p.Save(ctx, file); err != nil {
		return err
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	written.Add(p.Name(), body)
	return nil
}
