package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "vvufwd/"

// room is a directory with all that is below it, but for what has a row of its own.
type room struct {
	floor    int
	path     string
	knowsNot []string // what it must not reach, not even through others
	forAll   bool     // a tool without a device in it: knowing the room around it not is no reason not to use it
}

// devices are what a program that only uses sockets has no need of.
var devices = []string{"vfio", "virtio/pci", "virtio/net/nic", "netfwd/nic"}

// rooms is the layout. A package imports packages of its own room and of lower floors (a
// greater number), never of a higher one or of another room on its own.
var rooms = []room{
	{floor: 0, path: "cmd"}, // the programs; they do not import one another either
	{floor: 0, path: "cmd/vvudev", knowsNot: devices},
	{floor: 0, path: "cmd/vvugen", knowsNot: devices},
	{floor: 1, path: "cmd/internal"},

	{floor: 2, path: "vvu"},
	{floor: 3, path: "vvu/device"},
	{floor: 3, path: "vvu/socket", knowsNot: devices},
	{floor: 3, path: "vvu/shadow", knowsNot: devices},
	{floor: 4, path: "vvu/session", knowsNot: devices},
	{floor: 4, path: "vvu/vfiouser"},
	{floor: 4, path: "netfwd/nic"},
	{floor: 4, path: "netfwd/netdev"},
	{floor: 5, path: "vvu/vhostuser", knowsNot: []string{"vfio", "virtio/pci", "virtio/vring"}},
	{floor: 5, path: "vvu/door", knowsNot: []string{"vfio", "virtio/pci", "virtio/vring"}},

	{floor: 6, path: "netfwd", knowsNot: append([]string{"vvu"}, devices...)},
	{floor: 6, path: "virtio/net/nic", knowsNot: []string{"virtio/net/guest"}},
	{floor: 7, path: "virtio/net", knowsNot: devices},
	{floor: 8, path: "virtio/vring", knowsNot: []string{"vfio", "virtio/peerfd", "golang.org/x/sys/unix"}},
	{floor: 8, path: "virtio/pci"},
	{floor: 9, path: "virtio/mem"},
	{floor: 9, path: "virtio/peerfd"},
	{floor: 9, path: "vfio", knowsNot: []string{"virtio"}},
	{floor: 10, path: "virtio"},
	{floor: 10, path: "vfio/await", forAll: true},
	{floor: 10, path: "vfio/dma"},
	{floor: 10, path: "vfio/mmio"},
	{floor: 10, path: "vfio/pci"},
	{floor: 10, path: "vfio/uapi"},
}

// pkg is what "go list" says of a package. Tests and their helpers may import what they
// need, so only what is built into programs counts.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string // all that Imports reach
}

func TestArrowsPointDown(t *testing.T) {
	packages, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < len(rooms) {
		t.Fatalf("only %d packages listed", len(packages))
	}
	for _, v := range violations(packages) {
		t.Error(v)
	}
}

// What the test is there for is found, each kind of it.
func TestViolationsAreFound(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		want           string
	}{
		{"up", "vfio", "virtio/mem", "same floor"},
		{"up from a sub-package", "vfio/dma", "vfio", "upwards"},
		{"up to the programs", "netfwd", "cmd/internal/cli", "upwards"},
		{"up to the protocol", "netfwd", "vvu/vhostuser", "upwards"},
		{"across", "vvu/device", "vvu/socket", "same floor"},
		{"a program's package in another program", "cmd/vvubench/load", "cmd/vvudemo/show", "another program"},
		{"a program in shared code", "cmd/internal/cli", "cmd/vvudemo/show", "upwards"},
		{"a tests' helper in a program", "cmd/vvudev", "vvu/vvutest", "helper of tests"},
		{"what it must not know", "vvu/vhostuser", "virtio/pci", "must not reach"},
		{"a device in a program without", "cmd/vvugen/port", "vfio/dma", "must not reach"},
		{"a NIC in what both ends share", "virtio/net/guest", "virtio/net/nic", "upwards"},
		{"a NIC in the forwarder", "netfwd", "virtio/net/nic", "same floor"},
		{"what a program with sockets must not know", "cmd/vvugen", "vfio/pci", "must not reach"},
		{"a package in no room", "spare", "virtio", "no room"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pkg{ImportPath: module + tt.from, Imports: []string{module + tt.to}, Deps: []string{module + tt.to}}
			got := violations([]pkg{p})
			if len(got) == 0 || !slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, tt.want) }) {
				t.Errorf("%s -> %s: %q, want %q", tt.from, tt.to, got, tt.want)
			}
		})
	}
	fine := []pkg{
		{ImportPath: module + "vvu/vvutest", Imports: []string{module + "vvu/vfiouser/vfiousertest"}},
		{ImportPath: module + "cmd/vvudev", Imports: []string{"os", module + "cmd/internal/cli", module + "vvu/device"}},
	}
	if got := violations(fine); len(got) != 0 {
		t.Errorf("nothing is wrong, but %q", got)
	}
}

// list asks the go command about all packages of the module.
func list() ([]pkg, error) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			return nil, fmt.Errorf("go list: %w\n%s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// violations says of each import that the table does not allow what is wrong with it.
func violations(packages []pkg) []string {
	var bad []string
	for _, p := range packages {
		from, own := strings.CutPrefix(p.ImportPath, module)
		home, ok := roomOf(from)
		if !own || !ok {
			bad = append(bad, from+" is in no room: give it a row, on the floor where it belongs")
			continue
		}
		for _, path := range p.Imports {
			if to, own := strings.CutPrefix(path, module); own {
				if why := forbidden(from, to); why != "" {
					bad = append(bad, fmt.Sprintf("%s imports %s: %s", from, to, why))
				}
			}
		}
		for _, path := range p.Deps {
			to := strings.TrimPrefix(path, module)
			if r, _ := roomOf(to); r.forAll {
				continue
			}
			for _, not := range home.knowsNot {
				if within(to, not) && !forTests(from) {
					bad = append(bad, fmt.Sprintf("%s must not reach %s, and does: go list -deps", from, to))
				}
			}
		}
	}
	return bad
}

// forbidden says why from must not import to; it is empty if it may.
func forbidden(from, to string) string {
	if forTests(from) {
		return ""
	}
	if forTests(to) {
		return "that is a helper of tests"
	}
	a, _ := roomOf(from)
	b, ok := roomOf(to)
	switch {
	case !ok:
		return "that is in no room"
	case a.floor == 0 && b.floor == 0 && program(from) != program(to):
		return "that is another program's; what programs share is in cmd/internal"
	case a.path == b.path || a.floor < b.floor:
		return ""
	case a.floor == b.floor:
		return "both are on the same floor"
	}
	return "upwards"
}

// forTests tells whether a package serves tests only, by the name that all of those have.
func forTests(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasSuffix(part, "test") || part == "e2e" || part == "hostile" || part == "soak" {
			return true
		}
	}
	return false
}

// program is the name of the program under cmd that a package is part of.
func program(path string) string { return strings.Split(path, "/")[1] }

// roomOf finds the row with the longest path that holds path.
func roomOf(path string) (found room, ok bool) {
	for _, r := range rooms {
		if within(path, r.path) && len(r.path) >= len(found.path) {
			found, ok = r, true
		}
	}
	return found, ok
}

// within tells whether path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
