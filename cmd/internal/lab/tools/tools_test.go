package tools

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/kernel/kerneltest"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/machine"
)

// script writes an executable shell script and returns its path.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFlagErrors gives each flag something unfit and wants an error that names the flag and the cause.
func TestFlagErrors(t *testing.T) {
	qemu3 := script(t, "qemu", `echo "QEMU emulator version 3.1.50"`)
	qemu10 := script(t, "qemu", `echo "QEMU emulator version 10.0.2 (Debian)"`)
	qemu11 := script(t, "qemu", `echo "QEMU emulator version 11.1.3"`)
	kernelFile := filepath.Join(t.TempDir(), "vmlinuz")
	otherTree := filepath.Join(t.TempDir(), "6.9.0-other")
	if err := errors.Join(
		os.WriteFile(kernelFile, kerneltest.Image("6.9.0-test", nil), 0o600), os.MkdirAll(filepath.Join(otherTree, "kernel"), 0o755),
		os.WriteFile(filepath.Join(otherTree, "kernel", "a.ko"), nil, 0o600),
		os.WriteFile(filepath.Join(otherTree, "modules.dep"), []byte("kernel/a.ko:\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		options Options
		want    []string
	}{
		{"no such QEMU", Options{QEMU: "/nonexistent/qemu"}, []string{"--qemu", "/nonexistent/qemu"}},
		{"no such name in PATH", Options{QEMU: "no-such-qemu"}, []string{"--qemu", "no-such-qemu", "not found in $PATH"}},
		{"another program", Options{QEMU: script(t, "x", "echo hello")}, []string{"--qemu", "hello"}},
		{"a QEMU that does not start", Options{QEMU: script(t, "x", "echo 'libfoo.so is missing' >&2; exit 127")}, []string{"--qemu", "libfoo.so is missing"}},
		{"an old QEMU", Options{QEMU: qemu10, NeedVfioUser: true}, []string{"--qemu", "10.0", "10.1", "--device qemu"}},
		{"a QEMU too old for the app VM", Options{QEMU: qemu3, NeedPrograms: true}, []string{"--qemu " + qemu3, "3.1", "5.0", "--app-qemu"}},
		{"an app QEMU that is too old", Options{QEMU: qemu11, AppQEMU: qemu3, NeedPrograms: true}, []string{"--app-qemu " + qemu3, "3.1", "5.0"}},
		{"no such app QEMU", Options{QEMU: qemu11, AppQEMU: "/nonexistent/q"}, []string{"--app-qemu", "/nonexistent/q"}},
		{"no such busybox", Options{QEMU: qemu11, Busybox: "/nonexistent/b"}, []string{"--busybox", "/nonexistent/b"}},
		{"no such programs", Options{QEMU: qemu11, Bin: "/nonexistent/b"}, []string{"--bin", "/nonexistent/b"}},
		{"a kernel without modules", Options{QEMU: qemu11, Kernel: qemu11}, []string{"--kernel and --modules belong together"}},
		{"no such kernel", Options{QEMU: qemu11, Kernel: "/nonexistent/k", Modules: "/"}, []string{"--kernel", "/nonexistent/k"}},
		{"no modules", Options{QEMU: qemu11, Kernel: qemu11, Modules: t.TempDir()}, []string{"--modules", "RELEASE"}},
		{"no kernel at all", Options{Kernel: qemu11, Modules: otherTree}, []string{"--kernel", "bzImage"}},
		{"modules of another kernel", Options{Kernel: kernelFile, Modules: otherTree}, []string{"--modules", "6.9.0-other", "6.9.0-test"}},
		{"no busybox", Options{Busybox: qemu11}, []string{"--busybox", "bad magic number"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.options.BuildDir = t.TempDir()
			test.options.Progress = func(text string) { t.Errorf("flags are wrong, but it begins to fetch: %s", text) }
			_, err := Find(context.Background(), test.options)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not contain %q", err, part)
				}
			}
		})
	}
}

// TestFlagsAreLookedAtOnce has each QEMU that a flag names started once, and kernel and modules taken as they were checked.
func TestFlagsAreLookedAtOnce(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	qemu := script(t, "qemu", "echo start >>"+starts+"; echo QEMU emulator version 11.0.0")
	kernelFile := filepath.Join(t.TempDir(), "vmlinuz")
	modules := filepath.Join(t.TempDir(), "6.9.0-test")
	if err := errors.Join(os.WriteFile(kernelFile, kerneltest.Image("6.9.0-test", nil), 0o600), os.MkdirAll(filepath.Join(modules, "kernel"), 0o755),
		os.WriteFile(filepath.Join(modules, "kernel", "a.ko"), nil, 0o600), os.WriteFile(filepath.Join(modules, "modules.dep"), []byte("kernel/a.ko:\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f := &finder{Options: Options{QEMU: qemu, AppQEMU: qemu, Kernel: kernelFile, Modules: modules, NeedVfioUser: true}}
	found, err := f.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checked := found.Modules
	if err := errors.Join(f.qemu(t.Context(), found), f.kernel(t.Context(), found)); err != nil {
		t.Fatal(err)
	}
	if log, err := os.ReadFile(starts); err != nil || string(log) != "start\nstart\n" {
		t.Errorf("two flags, and QEMU was started so often: %q (%v)", log, err)
	}
	if found.QEMU.Version.String() != "11.0" || found.AppQEMU.Origin != qemu || found.Kernel != kernelFile || found.Modules == nil || found.Modules != checked {
		t.Errorf("found %+v", found)
	}
}

func TestCheckStatic(t *testing.T) {
	if err := CheckStatic(script(t, "x", "")); err == nil {
		t.Error("a script is accepted as a static program")
	}
	if err := CheckStatic("/bin/sh"); err == nil || !strings.Contains(err.Error(), "dynamically") {
		t.Errorf("the machine's shell: %v", err)
	}
	if err := checkBusybox(context.Background(), "/bin/sh"); err == nil {
		t.Error("the machine's shell is accepted as busybox")
	}
}

// Programs of the working directory, as --bin . names it, are paths: without a slash they would be looked for in PATH.
func TestProgramsInTheWorkingDirectory(t *testing.T) {
	var static bytes.Buffer // as much of a program as is looked at
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
	}
	if err := binary.Write(&static, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("vvufwd", static.Bytes(), 0o755), os.WriteFile("vvudev", nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	var found Tools
	if err := found.programsIn("."); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{found.Vvufwd, found.Vvudev, found.Vvugen} {
		if !filepath.IsAbs(path) {
			t.Errorf("%s", path)
		}
	}
}

func TestPackagedAtLeast(t *testing.T) {
	for version, want := range map[string]bool{
		"1:11.1.3+ds-1~bpo13+1": true, "1:10.1.0+ds-3": true, "10.10.1": true,
		"1:10.0.2+ds-2+deb13u1": false, "1:7.2+dfsg-7+deb12u7": false, "": false, "1:git": false,
	} {
		if got := packagedAtLeast(version, machine.VfioUser); got != want {
			t.Errorf("packagedAtLeast(%q) = %v", version, got)
		}
	}
}

func TestFindKernelTakesTheNewestWithModules(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{
		"boot/vmlinuz-6.1.0-40-cloud-amd64", "usr/lib/modules/6.1.0-40-cloud-amd64/kernel/a.ko",
		"boot/vmlinuz-6.1.0-41-cloud-amd64", "lib/modules/6.1.0-41-cloud-amd64/kernel/a.ko",
		"boot/vmlinuz-6.1.0-42-cloud-amd64",                                                     // installed for another machine: no modules
		"boot/vmlinuz-6.1.0-44-cloud-amd64", "lib/modules/6.1.0-44-cloud-amd64/modules.builtin", // the list alone
		"boot/vmlinuz-6.12.0-1-cloud-amd64", "lib/modules/6.12.0-1-cloud-amd64/kernel/a.ko",
		"boot/vmlinuz-6.1.0-43-amd64", "lib/modules/6.1.0-43-amd64/kernel/a.ko",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("kernel/b.ko\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for series, want := range map[string]string{"6.1": "6.1.0-41-cloud-amd64", "6.12": "6.12.0-1-cloud-amd64"} {
		var kernel string
		var modules *kmod.Tree
		if !findKernel(root, cloud, series, &kernel, &modules) || filepath.Base(kernel) != "vmlinuz-"+want || modules.Release != want {
			t.Errorf("kernel of series %s = %s, %+v", series, kernel, modules)
		}
	}
	var kernel string
	var modules *kmod.Tree
	if findKernel(t.TempDir(), cloud, "6.1", &kernel, &modules) {
		t.Error("a kernel was found in an empty directory")
	}
}

func TestUnpackedQEMURunsThroughItsOwnLoader(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	lib := unpackedLibraries(dir)
	if err := os.MkdirAll(lib, 0o755); err != nil {
		t.Fatal(err)
	}
	// The loader says how it was called.
	if err := os.WriteFile(filepath.Join(lib, loader), []byte("#!/bin/sh\necho \"QEMU emulator version 11.1 $QEMU_MODULE_DIR $*\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		q, err := unpackedQEMU(dir, "sid")
		if err != nil || len(q.Command) != 1 {
			t.Fatalf("%q, %v", q.Command, err)
		}
		out, err := exec.Command(q.Command[0], "-smp", "1", "a b").Output()
		want := "QEMU emulator version 11.1 " + lib + "/qemu --library-path " + lib + ":" + lib + ":" + lib + "/pulseaudio " +
			dir + "/usr/bin/qemu-system-x86_64 -L " + dir + "/usr/share/qemu -L " + dir + "/usr/share/seabios -smp 1 a b\n"
		if err != nil || string(out) != want {
			t.Errorf("%v and %s, want %s", err, out, want)
		}
	}
	if q, err := probeUnpacked(context.Background(), dir, "sid"); err != nil || q.Version != (machine.Version{Major: 11, Minor: 1}) {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestThrottledProgress(t *testing.T) {
	var seen []string
	d := debian{progress: func(text string) { seen = append(seen, text) }}
	report := d.throttled("sid")
	report("Get:1 http://mirror.example.org/debian sid InRelease [140 kB]")
	report("Get:1 http://mirror.example.org/debian sid/main amd64 libc6 amd64 2.41 [2,847 kB]")
	report("Get:2 http://mirror.example.org/debian sid/main amd64 zlib1g amd64 1.3 [80 kB]")
	report("Need to get 98.4 MB of archives.")
	report("Get:3 http://mirror.example.org/debian sid/main amd64 seabios all 1.17 [80 kB]")
	want := []string{"sid: file 1, libc6", "sid: need to get 98.4 MB of archives"}
	if !slices.Equal(seen, want) {
		t.Errorf("progress = %q, want %q", seen, want)
	}
}

// TestLockExcludesAnother holds the lock and lets another try until its context ends.
func TestLockExcludesAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "build") // in a fresh clone there is none
	unlock, err := lock(context.Background(), dir, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var told int
	if _, err := lock(ctx, dir, func(string) { told++ }); err == nil || told != 1 {
		t.Errorf("a second lock gives %v and %d messages", err, told)
	}
	unlock()
	unlock, err = lock(context.Background(), dir, func(string) { t.Error("had to wait for a free lock") })
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestDecompressModules uses a busybox that only notes what it is asked for.
func TestDecompressModules(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"kernel/a.ko.xz", "kernel/net/b.ko.xz", "kernel/c.ko", "modules.order"} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	busybox := script(t, "busybox", `[ "$1 $2" = "unxz -f" ] || exit 1; shift 2; for f; do mv "$f" "${f%.xz}"; done`)
	for range 2 { // the second time there is nothing left to do
		if err := decompressModules(t.Context(), busybox, dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"kernel/a.ko", "kernel/net/b.ko", "kernel/c.ko"} {
		if !readable(filepath.Join(dir, file)) {
			t.Errorf("%s is missing", file)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "d.ko.xz"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := decompressModules(t.Context(), script(t, "busybox", "echo corrupt >&2; exit 1"), dir); err == nil || !strings.Contains(err.Error(), "corrupt") {
		t.Errorf("a module that cannot be decompressed gives %v", err)
	}
}

// A QEMU may be named as in a shell: by a path, by a file here, or by a name in PATH.
func TestProgramFile(t *testing.T) {
	here, elsewhere := t.TempDir(), t.TempDir()
	t.Chdir(here)
	t.Setenv("PATH", elsewhere)
	for _, file := range []string{filepath.Join(here, "mine"), filepath.Join(elsewhere, "theirs"), filepath.Join(elsewhere, "mine")} {
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"mine": here + "/mine", "./mine": here + "/mine", "theirs": elsewhere + "/theirs", elsewhere + "/mine": elsewhere + "/mine"} {
		if got, err := programFile(name); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	if got, err := programFile("./theirs"); err == nil {
		t.Errorf("./theirs is %s", got)
	}
}

// A program of the source tree's build directory is run from anywhere, and finds what is unpacked there.
func TestBuildOf(t *testing.T) {
	dir := t.TempDir()
	ours, others := filepath.Join(dir, "ours"), filepath.Join(dir, "others")
	for tree, text := range map[string]string{ours: "module vvufwd\n", others: "module other\n"} {
		if err := errors.Join(os.Mkdir(tree, 0o755), os.WriteFile(filepath.Join(tree, "go.mod"), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for program, want := range map[string]string{
		ours + "/build/bin/vvudemo": ours + "/build", ours + "/bin/vvudemo": "", ours + "/build/vvudemo": "",
		others + "/build/bin/vvudemo": "", "/usr/bin/vvudemo": "", "vvudemo": "",
	} {
		if got := buildOf(program); got != want {
			t.Errorf("%s: %q, want %q", program, got, want)
		}
	}
}
