package kmod

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vvufwd/cmd/internal/modules"
)

// writeTree lays out a module directory from a map of relative path to content and returns its path.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lib", "modules", "6.1.0-test")
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// vfioTree resembles the VFIO modules of a 6.1 kernel: a diamond with a built-in at one corner.
func vfioTree(t *testing.T) string {
	return writeTree(t, map[string]string{
		"kernel/drivers/vfio/vfio.ko":              "",
		"kernel/drivers/vfio/vfio_iommu_type1.ko":  "",
		"kernel/drivers/vfio/vfio_virqfd.ko":       "",
		"kernel/drivers/vfio/pci/vfio-pci.ko":      "",
		"kernel/drivers/vfio/pci/vfio-pci-core.ko": "",
		"kernel/virt/lib/irqbypass.ko":             "",
		"kernel/drivers/net/unrelated.ko":          "",
		"modules.builtin":                          "kernel/drivers/iommu/iommufd.ko\n",
		"modules.dep": `kernel/drivers/vfio/vfio.ko:
kernel/drivers/vfio/vfio_virqfd.ko:
kernel/virt/lib/irqbypass.ko:
kernel/drivers/vfio/vfio_iommu_type1.ko: kernel/drivers/vfio/vfio.ko
kernel/drivers/vfio/pci/vfio-pci-core.ko: kernel/drivers/vfio/vfio_virqfd.ko kernel/drivers/vfio/vfio.ko kernel/virt/lib/irqbypass.ko
kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/pci/vfio-pci-core.ko kernel/drivers/vfio/vfio_virqfd.ko kernel/drivers/vfio/vfio.ko kernel/virt/lib/irqbypass.ko
`,
	})
}

func TestClosureFollowsModulesDep(t *testing.T) {
	tree, err := Open(vfioTree(t))
	if err != nil {
		t.Fatal(err)
	}
	modules, err := tree.Closure("iommufd", "vfio", "vfio_iommu_type1", "vfio-pci", "vfio_pci")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range modules {
		names = append(names, m.Name)
	}
	want := []string{"vfio", "vfio_iommu_type1", "vfio_virqfd", "irqbypass", "vfio_pci_core", "vfio_pci"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("modules in loading order (-want +got):\n%s", diff)
	}
	var dep strings.Builder
	if err := WriteDep(&dep, modules); err != nil {
		t.Fatal(err)
	}
	wantDep := `kernel/drivers/vfio/vfio.ko:
kernel/drivers/vfio/vfio_iommu_type1.ko: kernel/drivers/vfio/vfio.ko
kernel/drivers/vfio/vfio_virqfd.ko:
kernel/virt/lib/irqbypass.ko:
kernel/drivers/vfio/pci/vfio-pci-core.ko: kernel/virt/lib/irqbypass.ko kernel/drivers/vfio/vfio_virqfd.ko kernel/drivers/vfio/vfio.ko
kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/pci/vfio-pci-core.ko kernel/virt/lib/irqbypass.ko kernel/drivers/vfio/vfio_virqfd.ko kernel/drivers/vfio/vfio.ko
`
	if diff := cmp.Diff(wantDep, dep.String()); diff != "" {
		t.Errorf("modules.dep (-want +got):\n%s", diff)
	}
}

// TestWrittenDepLoadsInOrder reads back what WriteDep wrote and plays a loader: from the end of each list, every
// module must find its own dependencies loaded.
func TestWrittenDepLoadsInOrder(t *testing.T) {
	tree, err := Open(vfioTree(t))
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := tree.Closure("vfio-pci")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := WriteDep(&text, chosen); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	deps, err := modules.ReadDep(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded := map[string]bool{}
	list := deps["kernel/drivers/vfio/pci/vfio-pci.ko"]
	if len(list) != 4 {
		t.Fatalf("vfio-pci has dependencies %v, want 4", list)
	}
	for i := len(list) - 1; i >= 0; i-- {
		for _, d := range deps[list[i]] {
			if !loaded[d] {
				t.Errorf("%s would be loaded before its dependency %s", list[i], d)
			}
		}
		loaded[list[i]] = true
	}
}

func TestClosureErrors(t *testing.T) {
	tree, err := Open(vfioTree(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Closure("pktgen"); !errors.Is(err, ErrNoModule) || !strings.Contains(err.Error(), "pktgen") {
		t.Errorf("a missing module gives %v, want ErrNoModule that names it", err)
	}
	loop, err := Open(writeTree(t, map[string]string{
		"kernel/a.ko": "", "kernel/b.ko": "",
		"modules.dep": "kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/a.ko\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loop.Closure("a"); err == nil || !strings.Contains(err.Error(), "depends on itself") {
		t.Errorf("a loop gives %v", err)
	}
}

func TestOpenFindsTheRelease(t *testing.T) {
	dir := vfioTree(t)
	root := filepath.Dir(filepath.Dir(filepath.Dir(dir)))
	for _, given := range []string{dir, filepath.Dir(dir), root} {
		tree, err := Open(given)
		if err != nil {
			t.Errorf("Open(%q): %v", given, err)
			continue
		}
		if tree.Release != "6.1.0-test" {
			t.Errorf("Open(%q) gives release %q", given, tree.Release)
		}
	}
	if _, err := Open(filepath.Join(root, "absent")); err == nil {
		t.Error("a directory that does not exist is accepted")
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("an empty directory is accepted")
	}
	if err := os.MkdirAll(filepath.Join(filepath.Dir(dir), "6.2.0-test", "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root); err == nil || !strings.Contains(err.Error(), "2 kernels") {
		t.Errorf("two releases give %v", err)
	}
}

// TestAllBuiltIn opens what "make modules_install" leaves of a kernel that has no module: lists, and neither kernel/ nor modules.dep.
func TestAllBuiltIn(t *testing.T) {
	dir := writeTree(t, map[string]string{"modules.order": "", "modules.builtin": "kernel/drivers/vfio/vfio.ko\nkernel/drivers/vfio/pci/vfio-pci.ko\n"})
	for _, given := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(filepath.Dir(dir)))} {
		tree, err := Open(given)
		if err != nil {
			t.Errorf("Open(%q): %v", given, err)
			continue
		}
		if tree.Release != "6.1.0-test" || !tree.AllBuiltIn() || !tree.Knows("vfio-pci") || tree.Has("vfio_pci") {
			t.Errorf("Open(%q) gives release %q, all built in: %v, vfio-pci known: %v", given, tree.Release, tree.AllBuiltIn(), tree.Knows("vfio-pci"))
		}
		if files, err := tree.Closure("vfio", "vfio_pci"); err != nil || len(files) != 0 {
			t.Errorf("files %v, %v, want none", files, err)
		}
		if _, err := tree.Closure("8021q"); !errors.Is(err, ErrNoModule) {
			t.Errorf("a module that is not built in gives %v", err)
		}
	}
	if tree, err := Open(vfioTree(t)); err != nil || tree.AllBuiltIn() {
		t.Errorf("a tree with modules: %v, or all built in", err)
	}
	for name, files := range map[string]map[string]string{
		"an empty list":      {"modules.builtin": ""},
		"headers alone":      {"build/Makefile": "", "modules.dep": ""},
		"no module, no list": {"kernel/README": ""},
	} {
		if _, err := Open(writeTree(t, files)); err == nil || !strings.Contains(err.Error(), "modules.builtin") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseDepends(t *testing.T) {
	info := "license=GPL v2\x00depends=virtio_ring,virtio-pci-legacy-dev\x00depends=\x00name=x\x00vermagic=6.1.0\x00"
	if diff := cmp.Diff([]string{"virtio_ring", "virtio_pci_legacy_dev"}, parseDepends(info)); diff != "" {
		t.Errorf("dependencies (-want +got):\n%s", diff)
	}
	if got := parseDepends("depends=\x00"); len(got) != 0 {
		t.Errorf("no dependency gives %q", got)
	}
}

// A compressed module that cannot be decompressed: the error names it.
func TestDamagedModule(t *testing.T) {
	tree, err := Open(writeTree(t, map[string]string{"kernel/a.ko.xz": "\xfd7zXZ"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Closure("a"); err == nil || !strings.Contains(err.Error(), "decompress") || !strings.Contains(err.Error(), "a.ko.xz") {
		t.Errorf("%v, want what is wrong with which file", err)
	}
}

func TestReadDependsRefusesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.ko")
	if err := os.WriteFile(path, []byte("not a module"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readDepends(path); err == nil || !strings.Contains(err.Error(), "no object file") {
		t.Errorf("a text file: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readDepends(self); err == nil || !strings.Contains(err.Error(), ".modinfo") {
		t.Errorf("a program is accepted as a module: %v", err)
	}
}

func TestCompression(t *testing.T) {
	for path, want := range map[string]string{"a/b.ko": "", "a/b.ko.xz": "xz", "b.ko.zst": "zst", "b.ko.gz": "gz"} {
		if got := (Module{Path: path}).Compression(); got != want {
			t.Errorf("Compression of %s = %q, want %q", path, got, want)
		}
	}
}

func TestUncompressed(t *testing.T) {
	m := Module{Name: "a", Path: "kernel/a.ko.zst", Deps: []string{"kernel/b.ko.xz", "kernel/c.ko"}}
	want := Module{Name: "a", Path: "kernel/a.ko", Deps: []string{"kernel/b.ko", "kernel/c.ko"}}
	if diff := cmp.Diff(want, m.Uncompressed()); diff != "" {
		t.Errorf("uncompressed (-want +got):\n%s", diff)
	}
}
