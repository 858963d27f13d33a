package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/apt"
)

// release is a Debian release and the series of its cloud kernel.
type release struct{ suite, series string }

var (
	// guestRelease is where kernel and busybox come from: its cloud kernel is the one everything was proven with.
	guestRelease = release{"bookworm", "6.1"}
	// newerRelease is where the second kernel comes from.
	newerRelease = release{"trixie", "6.12"}
	// newestRelease is where the third comes from, of whatever series.
	newestRelease = release{"trixie-backports", ""}
)

// debian unpacks Debian packages under dir/debian. What is complete there is used as it is.
type debian struct {
	dir      string
	progress func(string)
}

// errNotDebian says what to do where apt cannot help.
var errNotDebian = errors.New("this machine cannot unpack Debian packages: give --qemu, --kernel, --modules and --busybox")

func (d *debian) path(name string) string { return filepath.Join(d.dir, "debian", name) }

// archive finds the Debian archive in the machine's apt sources.
func (d *debian) archive() (apt.Source, error) {
	for _, program := range []string{"apt-get", "apt-cache", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return apt.Source{}, fmt.Errorf("%w (no %s)", errNotDebian, program)
		}
	}
	if runtime.GOARCH != "amd64" {
		return apt.Source{}, fmt.Errorf("%w (its processor is %s; the packages are fetched for amd64 only)", errNotDebian, runtime.GOARCH)
	}
	sources, err := apt.ReadSources("/etc/apt")
	if err != nil {
		return apt.Source{}, err
	}
	archive, err := apt.PickArchive(sources)
	if err != nil {
		return apt.Source{}, fmt.Errorf("%w: %w", errNotDebian, err)
	}
	return archive, nil
}

// open makes a private apt for the given suites and fetches their lists. The state belongs to one use: remove it afterwards.
func (d *debian) open(ctx context.Context, name string, suites ...string) (*apt.Private, error) {
	archive, err := d.archive()
	if err != nil {
		return nil, err
	}
	p, err := apt.NewPrivate(ctx, d.path("apt-"+name), "amd64", archive.WithSuites(suites...), d.throttled(name))
	if err != nil {
		return nil, err
	}
	d.progress(fmt.Sprintf("reading Debian's package lists of %s", strings.Join(suites, ", ")))
	if err := p.Update(ctx); err != nil {
		return nil, fmt.Errorf("%w\n    (the archive is that of %s; give --qemu, --kernel, --modules and --busybox to do without it)", err, archive.File)
	}
	return p, nil
}

// forget removes a private apt's state, which is several times as large as what was unpacked.
func (d *debian) forget(name string) error { return os.RemoveAll(d.path("apt-" + name)) }

// getLine is what apt prints when it fetches a file: "Get:3 http://... trixie/main amd64 qemu-utils amd64 1:10 [1,234 kB]".
var getLine = regexp.MustCompile(`^Get:(\d+) \S+ \S+ \S+ (\w\S*)`)

// throttled passes on apt's sum of what it will fetch, and the name of a package at most every three seconds.
func (d *debian) throttled(release string) func(string) {
	var last time.Time
	return func(line string) {
		if strings.HasPrefix(line, "Need to get") {
			d.progress(release + ": " + strings.ToLower(line[:1]) + strings.TrimSuffix(line[1:], "."))
			last = time.Now()
			return
		}
		found := getLine.FindStringSubmatch(line)
		if found == nil || time.Since(last) < 3*time.Second {
			return
		}
		last = time.Now()
		d.progress(fmt.Sprintf("%s: file %s, %s", release, found[1], found[2]))
	}
}

// guest unpacks the cloud kernel with its modules, and the static busybox, into one directory and returns it.
func (d *debian) guest(ctx context.Context) (string, error) {
	return d.packages(ctx, "guest", guestRelease.suite, func(p *apt.Private) ([]string, error) {
		kernel, err := d.kernel(ctx, p, cloud, guestRelease)
		return []string{kernel, "busybox-static"}, err
	})
}

// otherKernel unpacks the kernel of a release with its modules.
func (d *debian) otherKernel(ctx context.Context, r release, f flavour) (string, error) {
	name := "kernel-"
	if f == full {
		name += "full-"
	}
	name += cmp.Or(r.series, r.suite)
	return d.packages(ctx, name, r.suite, func(p *apt.Private) ([]string, error) {
		kernel, err := d.kernel(ctx, p, f, r)
		if err != nil {
			return nil, err
		}
		// Since 7.x the kernel and its modules are in packages of their own, on which that one depends.
		names, err := p.Depends(ctx, kernel)
		return append(slices.DeleteFunc(names, func(name string) bool {
			return !slices.ContainsFunc([]string{"linux-base-", "linux-binary-", "linux-modules-"}, func(part string) bool { return strings.HasPrefix(name, part) })
		}), kernel), err
	})
}

// fullKernel unpacks the kernel of the guests' release that has drivers for hardware.
func (d *debian) fullKernel(ctx context.Context) (string, error) {
	return d.packages(ctx, "kernel-full", guestRelease.suite, func(p *apt.Private) ([]string, error) {
		kernel, err := d.kernel(ctx, p, full, guestRelease)
		return []string{kernel}, err
	})
}

// ethtool unpacks the program of that name with its libraries.
func (d *debian) ethtool(ctx context.Context) (string, error) {
	return d.packages(ctx, "ethtool", guestRelease.suite, func(*apt.Private) ([]string, error) {
		return []string{"ethtool", "libmnl0", "libc6"}, nil
	})
}

// kernel finds the name of a release's kernel package.
func (d *debian) kernel(ctx context.Context, p *apt.Private, f flavour, r release) (string, error) {
	meta := "linux-image-" + string(f)
	names, err := p.Depends(ctx, meta)
	if err != nil {
		return "", err
	}
	prefix := "linux-image-"
	if r.series != "" {
		prefix += r.series + "."
	}
	i := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, prefix) })
	if i < 0 {
		return "", fmt.Errorf("%s of %s depends on no %s kernel (on %q): give --kernel and --modules", meta, r.suite, r.series, names)
	}
	return names[i], nil
}

// packages unpacks the packages that choose names into one directory and returns it. What they depend on is left out: for a kernel
// that is tools to install it.
func (d *debian) packages(ctx context.Context, name, suite string, choose func(*apt.Private) ([]string, error)) (string, error) {
	dir := d.path(name)
	if _, complete := apt.Unpacked(dir); complete {
		return dir, nil
	}
	p, err := d.open(ctx, suite, suite)
	if err != nil {
		return "", err
	}
	names, err := choose(p)
	if err != nil {
		return "", err
	}
	var files []string
	for _, pkg := range names {
		d.progress("fetching " + pkg)
		file, err := p.Single(ctx, pkg)
		if err != nil {
			return "", err
		}
		files = append(files, file)
	}
	d.progress("unpacking " + strings.Join(names, ", "))
	if err := apt.Unpack(ctx, dir, suite, files); err != nil {
		return "", err
	}
	return dir, d.forget(suite)
}
