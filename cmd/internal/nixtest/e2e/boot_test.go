package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/kernel/kerneltest"
)

// attributes are those of nix/default.nix that are derivations.
var attributes = []string{
	"vvufwd", "vvudev", "driverInitramfs", "appInitramfs", "device", "driverVm", "driverVmFork", "appVm", "appVmCloudHypervisor", "appVmCrosvm", "demo",
}

// TestBuildsAndBoots builds every attribute and runs the demo: a device, a driver VM, an app VM, and pings from that through the other.
func TestBuildsAndBoots(t *testing.T) {
	n := open(t)
	var names []string
	if err := n.evaluate(t, &names, `builtins.attrNames (import ./nix { inherit pkgs; })`); err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(attributes), "linux", "module") // which have tests of their own
	slices.Sort(want)
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("nix/default.nix has %q, the tests %q", names, want)
	}
	built, err := n.build(t, debianKernel, attributes...)
	if err != nil {
		t.Fatal(err)
	}
	commands, err := filepath.Glob("../../../vvu*")
	if err != nil || len(commands) < 7 {
		t.Fatalf("the programs are %q: %v", commands, err)
	}
	for _, dir := range commands {
		name := filepath.Base(dir)
		if out, err := exec.Command(filepath.Join(built["vvufwd"], "bin", name), "--version").Output(); err != nil || !strings.HasPrefix(string(out), name+" ") {
			t.Errorf("%s --version: %q, %v", name, out, err)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	demo := exec.CommandContext(ctx, built["demo"])
	demo.Env = append(os.Environ(), "VVU_ACCEL=tcg")
	demo.Cancel = func() error { return demo.Process.Signal(os.Interrupt) } // it ends its machines
	demo.WaitDelay = time.Minute
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"app VM: address 10.0.2.15/24, gateway 10.0.2.2", "app VM: the gateway answers", "vvufwd: exit code 0", "both ways"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
}

// TestScripts looks at what the scripts start that no one can boot here, and at what they refuse.
func TestScripts(t *testing.T) {
	n := open(t)
	built, err := n.build(t, debianKernel, attributes...)
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	start := func(name string, args ...string) string {
		cmd := exec.Command(built[name], args...)
		cmd.Env = append(os.Environ(), "VVU_RUN="+run)
		out, err := cmd.CombinedOutput()
		if err != nil {
			out = append(out, err.Error()...)
		}
		return strings.ReplaceAll(string(out), run, "RUN")
	}
	wants := func(name, got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s does not say %q:\n%s", name, part, got)
			}
		}
	}
	wants("driverVm", start("driverVm"), "driver-vm: there is no RUN/vvu.sock: start the device first, $(nix-build nix -A device)", "exit status 2")
	wants("appVmCrosvm", start("appVmCrosvm", "--cpus", "2"), "\n--vhost-user\nnet,socket=RUN/app.sock\n-i\n"+built["appInitramfs"]+"\n-p\nconsole=ttyS0 ", "\n--cpus\n2\n")
	wants("appVmCloudHypervisor", start("appVmCloudHypervisor"), "\n--initramfs\n"+built["appInitramfs"]+"\n", "vhost_user=true,socket=RUN/app.sock,mac=", "--memory\nsize=256M,shared=on\n")
	if err := os.WriteFile(filepath.Join(run, "app.ram"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	wants("appVmCrosvm", start("appVmCrosvm"), "crosvm's memory cannot be a file: start the device with VVU_SHADOW=64M", "exit status 2")
	wants("appVmCloudHypervisor", start("appVmCloudHypervisor"), "--memory\nsize=0\n--memory-zone\nid=ram,size=256M,file=RUN/app.ram,shared=on\n")

	text, err := os.ReadFile(built["driverVmFork"])
	if err != nil {
		t.Fatal(err)
	}
	wants("driverVmFork", string(text), "-device virtio-vhost-user-pci,chardev=vvu,", built["driverInitramfs"])
}

// TestRefused has mistakes in nix/ found when it is evaluated.
func TestRefused(t *testing.T) {
	n := open(t)
	for _, tt := range []struct{ name, expression, want string }{
		{"a misspelt attribute", `(import ./nix { inherit pkgs; }).drivrVm`, "attribute 'drivrVm' missing"},
		{"an option that no kernel has", `(import ./nix { inherit pkgs; kernelOptions.VFIO_NOIOMU = pkgs.lib.kernel.yes; }).linux.options`, "no kernel has an option VFIO_NOIOMU"},
		{"an option without a value", `(import ./nix { inherit pkgs; kernelOptions.VFIO = true; }).linux.options`, "VFIO has no value of lib.kernel"},
		{"an argument that no kernel takes", `(pkgs.linux.override { structuredConfig = { }; }).options`, "unexpected argument 'structuredConfig'"},
		{"an argument that buildGoModule does not have", `pkgs.buildGoModule { pname = "x"; version = "0"; src = ./.; vendorSha256 = ""; subPackages = [ ]; }`, "vendorSha256"},
		{"no fork", `(import ./nix { inherit pkgs; }).driverVmFork.outPath`, "driverVmFork: give --arg qemuFork PACKAGE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got any
			if err := n.evaluate(t, &got, tt.expression); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestKernel compares the options of nix/linux.nix with what vvuimage asks of a kernel that has no modules.
func TestKernel(t *testing.T) {
	n := open(t)
	built, err := n.build(t, "null", "linux", "vvufwd")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const release = "9.9.9-nix"
	for name, body := range map[string]string{"bzImage": string(kerneltest.Image(release, nil)), "config-" + release: configuration(t, built["linux"])} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{},
		{"--iommu", "virtio"},
		{"--args", "--vvu=0000:00:05.0 --nic=0000:00:04.0 --noiommu"},
		{"--args", "--vvu=0000:00:05.0 --nic=eth0 --port=packet:eth1 --port=xdp:eth2 --port=tap:t --port=macvtap:eth3 --require-hugepages"},
		{"--args", "--vvu=0000:00:05.0 --nic=0000:00:04.0 --capture=0000:00:05.0=virtio-serial:frames --control=vsock:5000"},
		{"--init", "../../../../nix/app-init.sh"},
	} {
		cmd := exec.Command(filepath.Join(built["vvufwd"], "bin", "vvuimage"), append([]string{"--kernel", filepath.Join(dir, "bzImage"), "-o", filepath.Join(dir, "out")}, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%q: %v: %s", args, err, stderr.String())
		} else if got := stderr.String(); strings.Contains(got, "has no CONFIG") || !strings.Contains(got, "with no kernel modules") {
			t.Errorf("%q: %s", args, got)
		}
	}
}

// configuration is that of the kernel that nix/linux.nix describes, of which only the list of options was built.
func configuration(t *testing.T, list string) string {
	t.Helper()
	options, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	// VFIO brings it along; no one is asked for it.
	return string(options) + "\nCONFIG_VFIO_IOMMU_TYPE1=y\n"
}

// TestOwnImages makes both images for a kernel as nix/linux.nix gives it, of which "make modules_install" has left no module, only
// lists: with these in it vvufwd can be told to load what is built in.
func TestOwnImages(t *testing.T) {
	n := open(t)
	built, err := n.build(t, "null", "linux")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const release, lists = "9.9.9-nix", "lib/modules/9.9.9-nix/modules.builtin"
	for name, body := range map[string]string{
		"bzImage": string(kerneltest.Image(release, nil)),
		"config":  configuration(t, built["linux"]),
		lists:     "kernel/vfio.ko\nkernel/vfio_iommu_type1.ko\nkernel/vfio-pci.ko\nkernel/virtio_pci.ko\nkernel/virtio_net.ko\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	own := `let p = ` + packages + `; in p // { linux.override = options:
		p.runCommand "own" { } "mkdir $out; cp -r ` + dir + `/. $out" // { target = "bzImage"; configfile = "` + dir + `/config"; modDirVersion = "` + release + `"; }; }`
	out, err := n.run(t, "nix-build", "nix", "--no-out-link", "--arg", "pkgs", own, "-A", "driverInitramfs", "-A", "appInitramfs")
	if err != nil {
		t.Fatal(err)
	}
	images := strings.Fields(out)
	if len(images) != 2 {
		t.Fatalf("images %q", images)
	}
	for _, image := range images {
		packed, err := os.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		unpacked, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(body, []byte(lists+"\x00")) || bytes.Contains(body, []byte("lib/modules/"+release+"/kernel")) {
			t.Errorf("%s has no %s, or has modules", image, lists)
		}
	}
}
