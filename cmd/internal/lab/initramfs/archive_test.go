package initramfs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"vvufwd/cmd/internal/lab/kmod"
)

// listing is what unpacking an image gives: "path mode content" a line, in archive order.
func listing(t *testing.T, r io.Reader) []string {
	t.Helper()
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	in := cpio.NewReader(unzipped)
	var lines []string
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Guid != 0 || header.ModTime.Unix() != 0 {
			t.Errorf("%s carries owner %d:%d or time %v", header.Name, header.Uid, header.Guid, header.ModTime)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(header.Name+" "+header.Mode.String()+" "+header.Linkname+string(body)))
	}
}

func TestArchiveContents(t *testing.T) {
	a := newArchive()
	a.file("/lib/modules/6.1/x.ko", 0o644, []byte("module"))
	a.dir("dev")
	a.file("init", 0o755, []byte("#!"))
	a.link("bin/sh", "busybox")
	var image bytes.Buffer
	if err := a.write(&image); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bin 040755", "bin/sh 0120777 busybox", "dev 040755", "init 0100755 #!",
		"lib 040755", "lib/modules 040755", "lib/modules/6.1 040755", "lib/modules/6.1/x.ko 0100644 module",
	}
	if diff := cmp.Diff(want, listing(t, &image)); diff != "" {
		t.Errorf("unpacked (-want +got):\n%s", diff)
	}
}

// moduleTree makes a module directory that has all the named modules and says that none depends on another.
func moduleTree(t *testing.T, suffix string, names ...string) *kmod.Tree {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "6.1.0-test")
	if err := os.MkdirAll(filepath.Join(dir, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	var dep strings.Builder
	for _, name := range names {
		file := "kernel/" + name + suffix
		if err := os.WriteFile(filepath.Join(dir, file), pack(t, suffix, name), 0o644); err != nil {
			t.Fatal(err)
		}
		dep.WriteString(file + ":\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(dep.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := kmod.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// pack compresses a text as the end of a module's name says.
func pack(t *testing.T, suffix, text string) []byte {
	t.Helper()
	var packed bytes.Buffer
	var w io.WriteCloser
	var err error
	switch filepath.Ext(suffix) {
	case ".gz":
		w = gzip.NewWriter(&packed)
	case ".xz":
		w, err = xz.NewWriter(&packed)
	case ".zst":
		w, err = zstd.NewWriter(&packed)
	default:
		return []byte(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// TestModulesAreDecompressed has the same image from a tree of modules, however they are compressed.
func TestModulesAreDecompressed(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, suffix := range []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"} {
		image := filepath.Join(dir, "image"+suffix)
		d := Driver{Init: program, Modules: moduleTree(t, suffix, "vfio", "vfio_iommu_type1", "vfio-pci"), Files: map[string]string{"/etc/x/y": program}}
		if _, err := d.Save(image); err != nil {
			t.Fatal(err)
		}
		if got := read(t, image); want == nil {
			want = got
		} else if !bytes.Equal(want, got) {
			t.Errorf("%s gives\n%s\nwant\n%s", suffix, listing(t, bytes.NewReader(got)), listing(t, bytes.NewReader(want)))
		}
	}
	if text := strings.Join(listing(t, bytes.NewReader(want)), "\n"); !strings.Contains(text, "etc/x/y 0100755 ELF") {
		t.Errorf("no added file in\n%s", text)
	}
}

// Files are added beside what there is, never in its place.
func TestAddedFilesReplaceNothing(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"init": "has a /init already", "/../init": "has a /init already", "init/x": "/init is a file of the image", "dev": "has a /dev already",
		"lib/modules/6.1.0-test/modules.dep": "already", "/": "no file's path",
	} {
		image := filepath.Join(dir, "image")
		d := Driver{Init: program, Modules: moduleTree(t, ".ko", "vfio", "vfio_iommu_type1", "vfio-pci"), Files: map[string]string{to: program}}
		if _, err := d.Save(image); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
		if _, err := os.Stat(image); err == nil {
			t.Errorf("%s: there is an image", to)
		}
	}
}

// TestImagesAreDeterministic builds both images twice, from files with other times, and wants the same bytes.
func TestImagesAreDeterministic(t *testing.T) {
	build := func() (driver, app []byte) {
		dir := t.TempDir()
		program := filepath.Join(dir, "program")
		if err := os.WriteFile(program, []byte("ELF"), 0o600); err != nil {
			t.Fatal(err)
		}
		d := Driver{Init: program, Modules: moduleTree(t, ".ko.xz", "vfio", "vfio_iommu_type1", "vfio-pci")}
		builtin := []byte("kernel/drivers/char/virtio_console.ko\n")
		if err := os.WriteFile(filepath.Join(d.Modules.Dir, "modules.builtin"), builtin, 0o600); err != nil {
			t.Fatal(err)
		}
		a := App{Busybox: program, Modules: moduleTree(t, ".ko", "virtio_pci", "virtio_net")}
		for name, save := range map[string]func(string) (int64, error){"driver": d.Save, "app": a.Save} {
			path := filepath.Join(dir, name)
			size, err := save(path)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Size() != size {
				t.Errorf("%s: size reported %d, file %v, %v", name, size, info, err)
			}
		}
		return read(t, filepath.Join(dir, "driver")), read(t, filepath.Join(dir, "app"))
	}
	driver1, app1 := build()
	driver2, app2 := build()
	if !bytes.Equal(driver1, driver2) {
		t.Error("two driver images differ")
	}
	if !bytes.Equal(app1, app2) {
		t.Error("two app images differ")
	}
	want := []string{
		"dev 040755", "init 0100755 ELF",
		"lib 040755", "lib/modules 040755", "lib/modules/6.1.0-test 040755", "lib/modules/6.1.0-test/kernel 040755",
		"lib/modules/6.1.0-test/kernel/vfio-pci.ko 0100644 vfio-pci",
		"lib/modules/6.1.0-test/kernel/vfio.ko 0100644 vfio",
		"lib/modules/6.1.0-test/kernel/vfio_iommu_type1.ko 0100644 vfio_iommu_type1",
		"lib/modules/6.1.0-test/modules.builtin 0100644 kernel/drivers/char/virtio_console.ko",
		"lib/modules/6.1.0-test/modules.dep 0100644 kernel/vfio.ko:\nkernel/vfio_iommu_type1.ko:\nkernel/vfio-pci.ko:",
		"proc 040755", "run 040755", "sys 040755", "tmp 040755",
	}
	if diff := cmp.Diff(want, listing(t, bytes.NewReader(driver1))); diff != "" {
		t.Errorf("driver image (-want +got):\n%s", diff)
	}
}

// TestAppWithMore has a program and a module on top.
func TestAppWithMore(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("ELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "app")
	a := App{
		Busybox: program, Modules: moduleTree(t, ".ko", "virtio_pci", "virtio_net", "pktgen", "8021q"),
		MoreModules: []string{"8021q", GeneratorModule}, Files: map[string]string{"lib64/ld.so": program},
	}
	if _, err := a.Save(image); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(listing(t, bytes.NewReader(read(t, image))), "\n")
	for _, want := range []string{"lib64/ld.so 0100755 ELF", "lib/modules/6.1.0-test/kernel/8021q.ko 0100644 8021q", "lib/modules/6.1.0-test/kernel/pktgen.ko 0100644 pktgen"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	a.Files["bin/absent"] = filepath.Join(dir, "absent")
	if _, err := a.Save(image); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("a missing program gives %v", err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestImageErrorsNameTheCause(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "image")
	tree := moduleTree(t, ".ko.zst", "virtio_pci", "virtio_net")
	if _, err := (App{Busybox: filepath.Join(dir, "absent"), Modules: tree}).Save(out); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("a missing busybox gives %v", err)
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := moduleTree(t, ".ko", "virtio_pci", "virtio_net")
	if err := os.Remove(filepath.Join(broken.Dir, "kernel", "virtio_net.ko")); err != nil {
		t.Fatal(err)
	}
	if _, err := (App{Busybox: program, Modules: broken}).Save(out); err == nil || !strings.Contains(err.Error(), "virtio_net.ko") {
		t.Errorf("a module's file that has vanished gives %v", err)
	}
	if _, err := (Driver{Init: program, Modules: tree}).Save(out); !errors.Is(err, kmod.ErrNoModule) {
		t.Errorf("a kernel without vfio gives %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed build left an image behind")
	}
}
