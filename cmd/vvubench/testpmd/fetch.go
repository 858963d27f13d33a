package testpmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"vvufwd/cmd/vvudemo/apt"
)

// release is where the packages come from, on every machine: figures compare
// with the same DPDK, 22.11.
const release = "bookworm"

// drivers are the plug-ins of DPDK that we use: packages, and what is in them.
// DPDK would load them itself, but not from below a directory like /tmp that
// everybody may write to; so the loader does.
var drivers = []struct{ pkg, object string }{
	{"librte-mempool-ring23", "librte_mempool_ring.so.23"},
	{"librte-net-vhost23", "librte_net_vhost.so.23"},
	{"librte-net-virtio23", "librte_net_virtio.so.23"},
}

// machineDrivers is where DPDK looks for plug-ins, wherever it was unpacked to.
// If it finds some there it aborts, because it has loaded them already.
const machineDrivers = "/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0"

// fetch unpacks Debian's testpmd with its libraries, unless that was done before.
func fetch(ctx context.Context, o Options) (*Program, error) {
	if _, err := os.Stat(machineDrivers); err == nil {
		return nil, fmt.Errorf("parts of DPDK are installed (%s), which an unpacked %s does not go with", machineDrivers, programName)
	}
	dir, err := filepath.Abs(filepath.Join(o.BuildDir, "debian", "dpdk"))
	if err != nil {
		return nil, err
	}
	if _, complete := apt.Unpacked(dir); complete {
		return unpacked(dir), nil
	}
	archive, err := archive()
	if err != nil {
		return nil, err
	}
	state := dir + "-apt"
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, fmt.Errorf("build directory: %w", err)
	}
	private, err := apt.NewPrivate(ctx, state, "amd64", archive.WithSuites(release), func(string) {})
	if err != nil {
		return nil, err
	}
	o.Progress("reading Debian's package lists of " + release)
	if err := private.Update(ctx); err != nil {
		return nil, fmt.Errorf("%w (the archive is that of %s)", err, archive.File)
	}
	files, err := packages(ctx, private, o.Progress)
	if err != nil {
		return nil, err
	}
	o.Progress(fmt.Sprintf("unpacking %d packages", len(files)))
	if err := apt.Unpack(ctx, dir, release, files); err != nil {
		return nil, err
	}
	return unpacked(dir), os.RemoveAll(state) // several times as large as what was unpacked
}

// archive finds the Debian archive in the machine's apt sources.
func archive() (apt.Source, error) {
	for _, program := range []string{"apt-get", "apt-cache", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return apt.Source{}, fmt.Errorf("unpacking Debian packages needs %s", program)
		}
	}
	if runtime.GOARCH != "amd64" {
		return apt.Source{}, fmt.Errorf("packages are unpacked for amd64 only, and this is %s", runtime.GOARCH)
	}
	sources, err := apt.ReadSources("/etc/apt")
	if err != nil {
		return apt.Source{}, err
	}
	return apt.PickArchive(sources)
}

// packages downloads the program's package alone, and what the program needs of
// that package's dependencies: the libraries, without those for building programs.
func packages(ctx context.Context, p *apt.Private, progress func(string)) ([]string, error) {
	const pkg = "dpdk-dev"
	names, err := p.Depends(ctx, pkg)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, "lib") || strings.HasSuffix(name, "-dev")
	})
	for _, d := range drivers {
		names = append(names, d.pkg)
	}
	progress("fetching " + pkg + " and its libraries")
	files, err := p.Closure(ctx, release, names...)
	if err != nil {
		return nil, err
	}
	program, err := p.Single(ctx, pkg)
	if err != nil {
		return nil, err
	}
	return append(files, program), nil
}

// unpacked is how a testpmd is run whose packages were unpacked into dir: through
// the loader and with the libraries that came with it, because the machine's may
// be older.
func unpacked(dir string) *Program {
	lib := filepath.Join(dir, "usr", "lib", "x86_64-linux-gnu")
	plugins := filepath.Join(lib, "dpdk", "pmds-23.0")
	var preload []string
	for _, d := range drivers {
		preload = append(preload, d.object)
	}
	return &Program{
		Command: []string{
			filepath.Join(dir, "lib64", "ld-linux-x86-64.so.2"),
			"--library-path", strings.Join([]string{lib, filepath.Join(dir, "lib", "x86_64-linux-gnu"), plugins}, ":"),
			"--preload", strings.Join(preload, ":"),
			filepath.Join(dir, "usr", "bin", programName),
		},
		Origin: "Debian " + release,
	}
}
