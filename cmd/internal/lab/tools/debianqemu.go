package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/lab/apt"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/shell"
)

// qemuSuites are the releases whose QEMU may be new enough, each with the suites that its dependencies come from. The stable one
// with backports comes first, because its dependencies change least.
var qemuSuites = []struct {
	release string
	suites  []string
}{
	{"trixie-backports", []string{"trixie", "trixie-backports"}},
	{"forky", []string{"forky"}},
	{"sid", []string{"sid"}},
}

// qemu unpacks the first QEMU of Debian's releases that is new enough, with all its libraries.
func (d *debian) qemu(ctx context.Context) (machine.QEMU, error) {
	dir := d.path("qemu")
	if release, complete := apt.Unpacked(dir); complete {
		return probeUnpacked(ctx, dir, release)
	}
	var failures []error
	for _, s := range qemuSuites {
		q, err := d.fetchQEMU(ctx, dir, s.release, s.suites, machine.VfioUser)
		if err == nil {
			return q, nil
		}
		if ctx.Err() != nil || errors.Is(err, errNotDebian) {
			return machine.QEMU{}, err
		}
		d.progress(fmt.Sprintf("no QEMU from %s: %v", s.release, err))
		failures = append(failures, err)
	}
	return machine.QEMU{}, fmt.Errorf("no release of Debian has a QEMU that is new enough (%v or later); give --qemu: %w", machine.VfioUser, errors.Join(failures...))
}

// DebianQEMU returns the QEMU of a Debian release, "bookworm" for one, with all its libraries: an app VM's, since a driver VM needs a
// certain version. Of the options only BuildDir and Progress are looked at. What an earlier call unpacked is used as it is.
func DebianQEMU(ctx context.Context, o Options, release string) (machine.QEMU, error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return machine.QEMU{}, err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	dir := d.path("qemu-" + release)
	if _, complete := apt.Unpacked(dir); complete {
		return probeUnpacked(ctx, dir, release)
	}
	return d.fetchQEMU(ctx, dir, release, []string{release}, machine.Version{})
}

func probeUnpacked(ctx context.Context, dir, release string) (machine.QEMU, error) {
	q, err := unpackedQEMU(dir, release)
	if err != nil {
		return q, err
	}
	return probe(ctx, q)
}

// fetchQEMU unpacks the QEMU of a release into dir, if it is not older than least. Suites are where its dependencies come from.
func (d *debian) fetchQEMU(ctx context.Context, dir, release string, suites []string, least machine.Version) (machine.QEMU, error) {
	p, err := d.open(ctx, release, suites...)
	if err != nil {
		return machine.QEMU{}, err
	}
	const pkg = "qemu-system-x86"
	version, err := p.Candidate(ctx, release, pkg)
	if err != nil {
		return machine.QEMU{}, err
	}
	if !packagedAtLeast(version, least) {
		return machine.QEMU{}, fmt.Errorf("its %s is version %q, and %v is needed", pkg, version, least)
	}
	d.progress(fmt.Sprintf("fetching QEMU %s from %s", version, release))
	files, err := p.Closure(ctx, release, pkg)
	if err != nil {
		return machine.QEMU{}, err
	}
	d.progress(fmt.Sprintf("unpacking %d packages", len(files)))
	if err := apt.Unpack(ctx, dir, release, files); err != nil {
		return machine.QEMU{}, err
	}
	if err := d.forget(release); err != nil {
		return machine.QEMU{}, err
	}
	return probeUnpacked(ctx, dir, release)
}

// packagedAtLeast compares a package's version ("1:11.1.3+ds-1~bpo13+1") with a QEMU version.
func packagedAtLeast(version string, want machine.Version) bool {
	if _, after, found := strings.Cut(version, ":"); found {
		version = after
	}
	var v machine.Version
	if n, err := fmt.Sscanf(version, "%d.%d", &v.Major, &v.Minor); err != nil || n != 2 {
		return false
	}
	return v.AtLeast(want)
}

// unpackedQEMU is how a QEMU is run whose packages were unpacked into dir: by a script, so that a person can run it as well.
func unpackedQEMU(dir, release string) (machine.QEMU, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return machine.QEMU{}, err
	}
	command := append(unpackedCommand(dir, qemuProgram),
		"-L", filepath.Join(dir, "usr", "share", "qemu"),
		"-L", filepath.Join(dir, "usr", "share", "seabios"),
	)
	script := "#!/bin/sh\n# QEMU from Debian's packages, with the loader, libraries and data that came with it. Made anew for each place.\n" +
		shell.Command(nil, []string{"export", "QEMU_MODULE_DIR=" + filepath.Join(unpackedLibraries(dir), "qemu")}) + "\n" +
		"exec " + shell.Command(nil, command) + " \"$@\"\n"
	program := filepath.Join(dir, qemuProgram)
	if err := writeScript(program, script); err != nil {
		return machine.QEMU{}, err
	}
	return machine.QEMU{Command: []string{program}, Origin: "Debian " + release}, nil
}

// writeScript makes a script, unless it is there already. Others may run it meanwhile: it is replaced whole.
func writeScript(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".script-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once the file has its final name
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// unpackedCommand is how a program is run whose packages were unpacked into dir, an absolute path: through the loader and with the
// libraries that came with it, because those of the machine may be older.
func unpackedCommand(dir, program string) []string {
	lib := unpackedLibraries(dir)
	core := lib // where libc and its loader are, which moved after Debian 12
	if older := filepath.Join(dir, "lib", "x86_64-linux-gnu"); readable(filepath.Join(older, loader)) {
		core = older
	}
	return []string{
		filepath.Join(core, loader),
		"--library-path", strings.Join([]string{lib, core, filepath.Join(lib, "pulseaudio")}, ":"),
		filepath.Join(dir, "usr", "bin", program),
	}
}

func unpackedLibraries(dir string) string {
	return filepath.Join(dir, "usr", "lib", "x86_64-linux-gnu")
}

// loader is the dynamic loader of amd64.
const loader = "ld-linux-x86-64.so.2"
