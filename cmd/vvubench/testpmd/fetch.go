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

	"vvufwd/cmd/internal/lab/apt"
)

// Release is a Debian release with the version of its DPDK's libraries.
type Release struct {
	Suite string // "bookworm"
	dir   string // below the build directory
	abi   string // "23"
}

// Releases whose testpmd is used. Bookworm's, 22.11, is everyone's unless another is asked for, on every machine: figures compare with
// the same DPDK.
var (
	Bookworm = Release{Suite: "bookworm", dir: "dpdk", abi: "23"}
	Trixie   = Release{Suite: "trixie", dir: "dpdk-trixie", abi: "25"} // 24.11
)

// drivers are the plug-ins of DPDK that we use. DPDK would load them itself, but
// not from below a directory like /tmp that everyone may write to; so the loader
// does.
var drivers = []string{"mempool-ring", "net-vhost", "net-virtio", "net-af-packet", "net-af-xdp", "net-tap"}

func (r Release) driverPackage(name string) string { return "librte-" + name + r.abi }

func (r Release) driverObject(name string) string {
	return "librte_" + strings.ReplaceAll(name, "-", "_") + ".so." + r.abi
}

// plugins is the name of the directory where DPDK looks for plug-ins. If it finds
// some in the machine's, wherever it was unpacked to, it aborts, because it has
// loaded them already.
func (r Release) plugins() string { return "pmds-" + r.abi + ".0" }

// fetch unpacks Debian's testpmd with its libraries, unless that was done before.
func fetch(ctx context.Context, o Options) (*Program, error) {
	r := o.Release
	if r == (Release{}) {
		r = Bookworm
	}
	if machines := "/usr/lib/x86_64-linux-gnu/dpdk/" + r.plugins(); exists(machines) {
		return nil, fmt.Errorf("parts of DPDK are installed (%s), which an unpacked %s does not go with", machines, programName)
	}
	dir, err := filepath.Abs(filepath.Join(o.BuildDir, "debian", r.dir))
	if err != nil {
		return nil, err
	}
	if _, complete := apt.Unpacked(dir); complete && r.hasDrivers(dir) {
		return r.unpacked(dir), nil
	}
	archive, err := archive()
	if err != nil {
		return nil, err
	}
	state := dir + "-apt"
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, fmt.Errorf("build directory: %w", err)
	}
	private, err := apt.NewPrivate(ctx, state, "amd64", archive.WithSuites(r.Suite), func(string) {})
	if err != nil {
		return nil, err
	}
	o.Progress("reading Debian's package lists of " + r.Suite)
	if err := private.Update(ctx); err != nil {
		return nil, fmt.Errorf("%w (the archive is that of %s)", err, archive.File)
	}
	files, err := r.packages(ctx, private, o.Progress)
	if err != nil {
		return nil, err
	}
	o.Progress(fmt.Sprintf("unpacking %d packages", len(files)))
	if err := apt.Unpack(ctx, dir, r.Suite, files); err != nil {
		return nil, err
	}
	return r.unpacked(dir), os.RemoveAll(state) // several times as large as what was unpacked
}

// hasDrivers reports whether all drivers that are used now were unpacked into dir.
func (r Release) hasDrivers(dir string) bool {
	return !slices.ContainsFunc(drivers, func(name string) bool {
		return !exists(filepath.Join(dir, "usr", "lib", "x86_64-linux-gnu", "dpdk", r.plugins(), r.driverObject(name)))
	})
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
func (r Release) packages(ctx context.Context, p *apt.Private, progress func(string)) ([]string, error) {
	const pkg = "dpdk-dev"
	names, err := p.Depends(ctx, pkg)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, "lib") || strings.HasSuffix(name, "-dev")
	})
	for _, d := range drivers {
		names = append(names, r.driverPackage(d))
	}
	progress("fetching " + pkg + " and its libraries")
	files, err := p.Closure(ctx, r.Suite, names...)
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
func (r Release) unpacked(dir string) *Program {
	lib := filepath.Join(dir, "usr", "lib", "x86_64-linux-gnu")
	plugins := filepath.Join(lib, "dpdk", r.plugins())
	var preload []string
	for _, d := range drivers {
		preload = append(preload, r.driverObject(d))
	}
	loader := filepath.Join(dir, "lib64", "ld-linux-x86-64.so.2")
	if newer := filepath.Join(lib, "ld-linux-x86-64.so.2"); exists(newer) { // it moved after Debian 12
		loader = newer
	}
	return &Program{
		Command: []string{
			loader,
			"--library-path", strings.Join([]string{lib, filepath.Join(dir, "lib", "x86_64-linux-gnu"), plugins}, ":"),
			"--preload", strings.Join(preload, ":"),
			filepath.Join(dir, "usr", "bin", programName),
		},
		// Where the library finds the XDP program that net_af_xdp attaches.
		Env:    []string{"LIBXDP_OBJECT_PATH=" + filepath.Join(lib, "bpf")},
		Origin: "Debian " + r.Suite,
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
