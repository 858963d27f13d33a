// Package deb makes a Debian package with dpkg-deb. Its directory takes the place of debian/, which the layout has no room for
// at the top.
package deb

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"

	"vvufwd/cmd/internal/dist/tree"
)

//go:embed control copyright changelog lintian-overrides postinst prerm postrm
var files embed.FS

var texts = template.Must(template.ParseFS(files, "control", "changelog"))

// Package is what is packed.
type Package struct {
	Version string // of the module: "v1.2.3", "v0.0.0-20260102030405-0123456789ab+dirty"
	Arch    string // Go's name of it, which is Debian's too for amd64 and arm64
	When    time.Time
	Files   tree.Tree // by their paths in the file system
}

// A pseudo-version's time says which is newer; the commit only tells them apart.
var pseudo = regexp.MustCompile(`-(?:0\.)?(\d{14})-([0-9a-f]{12})`)

// Version is the package's version: "v1.2.3-0.20260102030405-0123456789ab" comes before v1.2.3, for Go and for Debian.
func Version(module string) string {
	v := strings.TrimPrefix(module, "v")
	if v == "" || v[0] < '0' || v[0] > '9' {
		return "0~devel"
	}
	v = pseudo.ReplaceAllString(v, "~git$1.$2")
	return strings.ReplaceAll(v, "-", "~")
}

// Name is the name of the package's file.
func (p Package) Name() string { return fmt.Sprintf("vvufwd_%s_%s.deb", Version(p.Version), p.Arch) }

// Save writes the package to a file.
func (p Package) Save(ctx context.Context, file string) error {
	dir, err := os.MkdirTemp("", "deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all, err := p.complete()
	if err != nil {
		return err
	}
	if err := all.Write(dir, p.When); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", dir, file)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", p.When.Unix()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// complete is all that the package has, with what says so.
func (p Package) complete() (tree.Tree, error) {
	all := make(tree.Tree)
	size := 0
	for name, f := range p.Files {
		all[name] = f
	}
	fill := func(name string) ([]byte, error) {
		kib := (size + 1023) / 1024
		var b bytes.Buffer
		err := texts.ExecuteTemplate(&b, name, map[string]any{"Version": Version(p.Version), "Arch": p.Arch, "Date": p.When.UTC().Format(time.RFC1123Z), "KiB": kib})
		return b.Bytes(), err
	}
	changelog, err := fill("changelog")
	if err != nil {
		return nil, err
	}
	if changelog, err = Gzip(changelog); err != nil {
		return nil, err
	}
	copyright, err := files.ReadFile("copyright")
	if err != nil {
		return nil, err
	}
	overrides, err := files.ReadFile("lintian-overrides")
	if err != nil {
		return nil, err
	}
	all.Add("usr/share/doc/vvufwd/changelog.gz", changelog)
	all.Add("usr/share/doc/vvufwd/copyright", copyright)
	all.Add("usr/share/lintian/overrides/vvufwd", overrides)
	var sums bytes.Buffer
	for _, name := range all.Names() {
		size += len(all[name].Body)
		fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(all[name].Body), name)
	}
	control, err := fill("control")
	if err != nil {
		return nil, err
	}
	all.Add(filepath.Join("DEBIAN", "control"), control)
	all.Add(filepath.Join("DEBIAN", "md5sums"), sums.Bytes())
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		script, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all.AddProgram(filepath.Join("DEBIAN", name), script)
	}
	return all, nil
}

// Gzip compresses as Debian's policy wants it for documents, with neither name nor time.
func Gzip(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
