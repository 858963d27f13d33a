package pci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeSysfs builds a tree like /sys in a temporary directory.
type fakeSysfs struct {
	t    *testing.T
	root string
}

func newFakeSysfs(t *testing.T) *fakeSysfs {
	t.Helper()
	s := &fakeSysfs{t: t, root: t.TempDir()}
	for _, dir := range []string{"bus/pci/devices", "bus/pci/drivers", "kernel/iommu_groups"} {
		s.mkdir(dir)
	}
	return s
}

func (s *fakeSysfs) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

func (s *fakeSysfs) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *fakeSysfs) mkdir(dir string) {
	s.t.Helper()
	s.check(os.MkdirAll(s.path(dir), 0o755))
}

func (s *fakeSysfs) file(name, text string) {
	s.t.Helper()
	s.check(os.WriteFile(s.path(name), []byte(text), 0o644))
}

// device adds a function, as a link like in the real tree.
func (s *fakeSysfs) device(addr string, attributes map[string]string) {
	s.t.Helper()
	dir := filepath.Join("devices/pci0000:00", addr)
	s.mkdir(dir)
	for name, text := range attributes {
		s.file(filepath.Join(dir, name), text+"\n")
	}
	s.check(os.Symlink(s.path(dir), s.path("bus/pci/devices", addr)))
}

func (s *fakeSysfs) group(number int, name string, addrs ...string) {
	s.t.Helper()
	dir := fmt.Sprintf("kernel/iommu_groups/%d", number)
	s.mkdir(dir + "/devices")
	if name != "" {
		s.file(dir+"/name", name+"\n")
	}
	for _, addr := range addrs {
		s.check(os.Symlink(s.path(dir), s.path("bus/pci/devices", addr, "iommu_group")))
		s.check(os.Symlink(s.path("devices/pci0000:00", addr), s.path(dir, "devices", addr)))
	}
}

func (s *fakeSysfs) driver(name string, addrs ...string) {
	s.t.Helper()
	s.mkdir("bus/pci/drivers/" + name)
	for _, addr := range addrs {
		s.check(os.Symlink(s.path("bus/pci/drivers", name), s.path("bus/pci/devices", addr, "driver")))
	}
}

func netDevice() map[string]string {
	return map[string]string{
		"vendor": "0x1af4", "device": "0x1041", "subsystem_vendor": "0x1af4", "subsystem_device": "0x1100",
		"class": "0x020000", "driver_override": "(null)",
	}
}

func populated(t *testing.T) (*fakeSysfs, Sysfs) {
	s := newFakeSysfs(t)
	for _, addr := range []string{"0000:00:04.0", "0000:00:05.0", "0000:00:06.0", "0001:00:00.0"} {
		s.device(addr, netDevice())
	}
	s.driver("virtio-pci", "0000:00:04.0")
	s.driver("mlx5_vfio_pci", "0001:00:00.0")
	s.driver("vfio-pci", "0000:00:05.0")
	s.group(7, "", "0000:00:04.0", "0000:00:05.0")
	s.group(0, noIOMMUGroupName, "0001:00:00.0")
	return s, Sysfs{Root: s.root}
}

// Interfaces of the kernel's drivers are below a function, those of virtio below its virtio device.
func TestInterfaces(t *testing.T) {
	s, sysfs := populated(t)
	s.mkdir("devices/pci0000:00/0000:00:04.0/virtio3/net/eth0")
	s.mkdir("devices/pci0000:00/0001:00:00.0/net/p0")
	s.mkdir("devices/pci0000:00/0001:00:00.0/net/p1")
	for want, addr := range map[string]Address{"eth0": {Device: 4}, "p0 p1": {Domain: 1}, "": {Device: 5}} {
		info, err := sysfs.Device(addr)
		if got := strings.Join(info.Interfaces, " "); err != nil || got != want {
			t.Errorf("%v: %q, %v, want %q", addr, got, err, want)
		}
	}
}

func TestDevice(t *testing.T) {
	_, sysfs := populated(t)
	got, err := sysfs.Device(Address{Device: 4})
	if err != nil {
		t.Fatal(err)
	}
	want := Info{
		Address: Address{Device: 4}, Vendor: 0x1af4, Device: 0x1041, SubVendor: 0x1af4, SubDevice: 0x1100, Class: 0x020000,
		Driver: "virtio-pci", HasIOMMUGroup: true, IOMMUGroup: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.BoundToVFIO() {
		t.Error("virtio-pci passes for vfio-pci")
	}
	bare, err := sysfs.Device(Address{Device: 6})
	if err != nil || bare.HasIOMMUGroup || bare.Driver != "" || bare.BoundToVFIO() {
		t.Errorf("without driver and group: %+v, %v", bare, err)
	}
	unsafe, err := sysfs.Device(Address{Domain: 1})
	if err != nil || !unsafe.NoIOMMU || !unsafe.HasIOMMUGroup || unsafe.IOMMUGroup != 0 || !unsafe.BoundToVFIO() {
		t.Errorf("in a no-IOMMU group: %+v, %v", unsafe, err)
	}
}

func TestNoDevice(t *testing.T) {
	_, sysfs := populated(t)
	_, err := sysfs.Device(Address{Device: 9})
	var deviceErr *DeviceError
	if !errors.Is(err, ErrNoDevice) || !errors.As(err, &deviceErr) || deviceErr.Device != "0000:00:09.0" {
		t.Fatalf("error: %v", err)
	}
	want := "0000:00:09.0: no such PCI device: choose one of 0000:00:04.0, 0000:00:05.0, 0000:00:06.0, 0001:00:00.0"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestNoDeviceInCrowd(t *testing.T) {
	s := newFakeSysfs(t)
	for i := range 20 {
		s.device(fmt.Sprintf("0000:01:%02x.0", i), netDevice())
	}
	_, err := Sysfs{Root: s.root}.Device(Address{})
	if err == nil || !strings.HasSuffix(err.Error(), "0000:01:0f.0, and 4 more") {
		t.Errorf("error: %v", err)
	}
	_, err = Sysfs{Root: t.TempDir()}.Device(Address{})
	if !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "mount sysfs") {
		t.Errorf("without sysfs: %v", err)
	}
}

func TestListAndGroup(t *testing.T) {
	_, sysfs := populated(t)
	addresses := func(list []Info, err error) (names []string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			names = append(names, i.Address.String())
		}
		return names
	}
	if diff := cmp.Diff([]string{"0000:00:04.0", "0000:00:05.0", "0000:00:06.0", "0001:00:00.0"}, addresses(sysfs.List())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"0000:00:04.0", "0000:00:05.0"}, addresses(sysfs.Group(7))); diff != "" {
		t.Error(diff)
	}
	if _, err := sysfs.Group(99); err == nil {
		t.Error("a group that is not there has members")
	}
}

func TestBrokenAttribute(t *testing.T) {
	s, sysfs := populated(t)
	s.file("bus/pci/devices/0000:00:04.0/vendor", "nonsense\n")
	if _, err := sysfs.Device(Address{Device: 4}); err == nil || !strings.Contains(err.Error(), "vendor") {
		t.Errorf("error: %v", err)
	}
}

// kernelActs makes the files that cause action in a real kernel into pipes and acts
// as the kernel does: unbind removes the driver link, a probe binds the function to
// the driver that the override names, else to native, unless that is refused.
func (s *fakeSysfs) kernelActs(addr, native, refuse string) {
	s.t.Helper()
	probe := s.path("bus/pci/drivers_probe")
	s.check(unix.Mkfifo(probe, 0o600))
	link := s.path("bus/pci/devices", addr, "driver")
	for _, d := range []string{native, "vfio-pci"} {
		if d == "" {
			continue
		}
		unbind := s.path("bus/pci/drivers", d, "unbind")
		s.check(unix.Mkfifo(unbind, 0o600))
		go func() {
			for {
				if text, err := os.ReadFile(unbind); err != nil {
					return // the test is over
				} else if strings.TrimSpace(string(text)) == addr {
					_ = os.Remove(link)
				}
			}
		}()
	}
	go func() {
		for {
			text, err := os.ReadFile(probe)
			if err != nil {
				return
			}
			if strings.TrimSpace(string(text)) != addr {
				continue
			}
			for range 200 { // an unbind may be under way still
				if _, err := os.Lstat(link); err != nil {
					break
				}
				unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
			}
			override, _ := os.ReadFile(s.path("bus/pci/devices", addr, "driver_override"))
			driver := strings.TrimSpace(string(override))
			if driver == "" || driver == noOverride {
				driver = native
			}
			if driver != "" && driver != refuse {
				_ = os.Symlink(s.path("bus/pci/drivers", driver), link)
			}
		}
	}()
	// Readers blocked in open must end with the test.
	s.t.Cleanup(func() {
		pipes, _ := filepath.Glob(s.path("bus/pci/drivers/*/unbind"))
		for _, p := range append(pipes, probe) {
			fd, err := unix.Open(p, unix.O_RDWR|unix.O_NONBLOCK, 0)
			_ = os.Remove(p)
			if err == nil {
				_ = unix.Close(fd)
			}
		}
	})
}

func (s *fakeSysfs) override(addr string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path("bus/pci/devices", addr, "driver_override"))
	s.check(err)
	return strings.TrimSpace(string(text))
}

func TestBindAndRestore(t *testing.T) {
	const name = "0000:00:04.0"
	s, sysfs := populated(t)
	s.kernelActs(name, "virtio-pci", "")
	addr := Address{Device: 4}

	before, err := sysfs.Bind(addr, "vfio-pci")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := sysfs.Device(addr); err != nil || info.Driver != "vfio-pci" || s.override(name) != "vfio-pci" {
		t.Errorf("after Bind: %+v, override %q, %v", info, s.override(name), err)
	}
	again, err := sysfs.Bind(addr, "vfio-pci")
	if err != nil {
		t.Fatal(err)
	}
	if err := sysfs.Undo(again); err != nil {
		t.Fatal(err)
	}
	if info, _ := sysfs.Device(addr); info.Driver != "vfio-pci" {
		t.Errorf("restoring a Bind that did nothing unbound the device: %+v", info)
	}
	if err := sysfs.Undo(before); err != nil {
		t.Fatal(err)
	}
	if info, err := sysfs.Device(addr); err != nil || info.Driver != "virtio-pci" || s.override(name) != "" {
		t.Errorf("after restore: %+v, override %q, %v", info, s.override(name), err)
	}
}

// TestCheckUndo: whether Undo can be is known before, and to find that out changes nothing.
func TestCheckUndo(t *testing.T) {
	const name = "0000:00:04.0"
	s, sysfs := populated(t)
	s.kernelActs(name, "virtio-pci", "")
	before, err := sysfs.Bind(Address{Device: 4}, "vfio-pci")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []Binding{before, {Function: Address{Device: 9}, Changed: true}} { // the other one is not there any more
		if err := sysfs.CheckUndo(b); err != nil {
			t.Error(err)
		}
	}
	if info, _ := sysfs.Device(before.Function); info.Driver != "vfio-pci" {
		t.Errorf("checking has unbound it: %+v", info)
	}
	probe := sysfs.path("bus/pci/drivers_probe")
	if err := errors.Join(os.Remove(probe), os.Mkdir(probe, 0o700)); err != nil { // which root cannot write to either
		t.Fatal(err)
	}
	if err := sysfs.CheckUndo(before); err == nil || !strings.HasPrefix(err.Error(), "return 0000:00:04.0 to its driver: open ") {
		t.Errorf("what cannot be written to: %v", err)
	}
	if err := sysfs.CheckUndo(Binding{Function: before.Function}); err != nil {
		t.Errorf("there is nothing to undo: %v", err)
	}
}

func TestBindUnboundDevice(t *testing.T) {
	const name = "0000:00:06.0"
	s, sysfs := populated(t)
	s.kernelActs(name, "", "")
	before, err := sysfs.Bind(Address{Device: 6}, "vfio-pci")
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := sysfs.Device(Address{Device: 6}); info.Driver != "vfio-pci" {
		t.Errorf("after Bind: %+v", info)
	}
	if err := sysfs.Undo(before); err != nil {
		t.Fatal(err)
	}
	if s.override(name) != "" {
		t.Errorf("override %q is left", s.override(name))
	}
}

// TestBindingDirectories: what is written to is below a host bridge that stays, or, where that may go with the
// function, below all devices.
func TestBindingDirectories(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sysfs := Sysfs{Root: root}
	bus := filepath.Join(root, "bus/pci/devices")
	for link, dir := range map[string]string{
		"0000:00:04.0": "devices/pci0000:00/0000:00:04.0", "0000:01:00.0": "devices/pci0000:00/0000:00:01.0/0000:01:00.0",
		"0001:00:00.0": "devices/platform/40000000.pcie/pci0001:00/0001:00:00.0", "0003:00:00.0": "devices/pci-0/0003:00:00.0",
		"0004:00:00.0": "devices/platform/soc@0/40000000.pcie/pci0004:00/0004:00:00.0", "0005:00:00.0": "devices/platform/VMBUS:00/47505500-0001/pci0005:00/0005:00:00.0",
		"0006:00:00.0": "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/47505500-0001/pci0006:00/0006:00:00.0", "10000:01:00.0": "devices/pci0000:00/0000:00:0e.0/pci10000:00/10000:01:00.0",
		"0007:00:00.0": "devices/platform/pci0007:00/0007:00:00.0", "10001:00:00.0": "devices/pci10001:00/10001:00:00.0", "0002:00:00.0": "elsewhere/pci0002:00/0002:00:00.0",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, dir), 0o700), os.MkdirAll(bus, 0o700), os.Symlink("../../../"+dir, filepath.Join(bus, link))); err != nil {
			t.Fatal(err)
		}
	}
	for functions, want := range map[string]string{
		"":                          "bus/pci",
		"0000:00:04.0 0000:01:00.0": "bus/pci devices/pci0000:00",
		"0001:00:00.0":              "bus/pci devices/platform/40000000.pcie",
		"0003:00:00.0":              "bus/pci devices", // of Xen
		"0004:00:00.0":              "bus/pci devices/platform/soc@0/40000000.pcie",
		"0005:00:00.0":              "bus/pci devices", // of Hyper-V
		"0006:00:00.0":              "bus/pci devices",
		"0007:00:00.0":              "bus/pci devices",            // all of the platform is no host bridge's
		"10000:01:00.0":             "bus/pci devices/pci0000:00", // behind a VMD controller
		"10001:00:00.0":             "bus/pci devices/pci10001:00",
		"0002:00:00.0":              "bus/pci devices",
		"0000:00:09.0 0000:00:04.0": "bus/pci devices devices/pci0000:00", // one that is not there
	} {
		var list []Address
		for name := range strings.FieldsSeq(functions) {
			addr, err := ParseAddress(name)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, addr)
		}
		got := strings.Join(sysfs.BindingDirectories(list), " ")
		if got = strings.ReplaceAll(got, root+"/", ""); got != want {
			t.Errorf("%s: %s, want %s", functions, got, want)
		}
	}
}

func TestBindRefused(t *testing.T) {
	const name = "0000:00:06.0"
	s, sysfs := populated(t)
	s.kernelActs(name, "", "vfio-pci")
	_, err := sysfs.Bind(Address{Device: 6}, "vfio-pci")
	var deviceErr *DeviceError
	if !errors.As(err, &deviceErr) || !strings.HasPrefix(deviceErr.Remedy, RemedyNoIOMMU) {
		t.Errorf("error: %v", err)
	}
	if s.override(name) != "" {
		t.Errorf("the failure left override %q", s.override(name))
	}
}

func TestBindWithoutDriver(t *testing.T) {
	_, sysfs := populated(t)
	_, err := sysfs.Bind(Address{Device: 4}, "uio_pci_generic")
	if err == nil || !strings.Contains(err.Error(), "modprobe uio_pci_generic") {
		t.Errorf("error: %v", err)
	}
	if _, err := sysfs.Bind(Address{Device: 9}, "vfio-pci"); !errors.Is(err, ErrNoDevice) {
		t.Errorf("error: %v", err)
	}
}

func TestDeviceErrorIsOneLine(t *testing.T) {
	cause := errors.New("cause")
	err := &DeviceError{Device: "0000:00:05.0", Problem: "problem", Remedy: "remedy", Err: cause}
	if err.Error() != "0000:00:05.0: problem (cause): remedy" || !errors.Is(err, cause) {
		t.Errorf("got %q", err.Error())
	}
	if got := (&DeviceError{Device: "d", Problem: "p", Remedy: "r"}).Error(); got != "d: p: r" {
		t.Errorf("got %q", got)
	}
}

// TestCheckNoIOMMU: why a function without an IOMMU cannot be bound, in one line.
func TestCheckNoIOMMU(t *testing.T) {
	info := Info{Address: Address{Device: 6}}
	for mode, says := range map[string]string{
		"":       "VFIO is not loaded: modprobe vfio-pci",
		"absent": "the kernel has no no-IOMMU mode: boot a kernel with CONFIG_VFIO_NOIOMMU=y",
		"N":      "its no-IOMMU mode is off: as root, echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
		"Y":      "",
	} {
		s, sysfs := populated(t)
		if mode != "" {
			s.mkdir("module/vfio/parameters")
		}
		if mode == "N" || mode == "Y" {
			s.file(NoIOMMUSwitch, mode+"\n")
		}
		err := sysfs.CheckNoIOMMU(info)
		if says == "" && err != nil || says != "" && (err == nil || !strings.HasPrefix(err.Error(), "0000:00:06.0: ") || !strings.Contains(err.Error(), says)) {
			t.Errorf("mode %q: %v", mode, err)
		}
		info := info
		info.HasIOMMUGroup, info.NoIOMMU = true, true // someone has bound it already
		if err := sysfs.CheckNoIOMMU(info); err != nil {
			t.Errorf("mode %q, bound: %v", mode, err)
		}
	}
}

func TestBARAddress(t *testing.T) {
	s, sysfs := populated(t)
	addr := Address{Device: 4}
	s.file("bus/pci/devices/"+addr.String()+"/resource", "0xfebd0000 0xfebd3fff 0x40200\n0x0 0x0 0x0\nnonsense\n0x0 0x0 0x0\n0xfe00000000 0xfeffffffff 0x14220c\n")
	for bar, want := range map[int]uint64{0: 0xfebd0000, 4: 0xfe00000000} {
		if got, err := sysfs.BARAddress(addr, bar); err != nil || got != want {
			t.Errorf("BAR %d: %#x, %v; want %#x", bar, got, err, want)
		}
	}
	for _, bar := range []int{-1, 1, 2, 5, 6, 100} {
		if got, err := sysfs.BARAddress(addr, bar); err == nil {
			t.Errorf("BAR %d is at %#x", bar, got)
		}
	}
	if _, err := sysfs.BARAddress(Address{Device: 9}, 0); err == nil {
		t.Error("a function that is not there has a BAR")
	}
}
