package appliance

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/modules"
)

const moduleDir = "lib/modules/" + testRelease + "/"

// moduleFiles is what a 6.1 kernel has of VFIO. The order in modules.dep is that of
// depmod: the deepest dependency comes last.
func moduleFiles() map[string]string {
	return map[string]string{
		"proc/cmdline": "quiet vfio_iommu_type1.dma_entry_limit=9 vfio-pci.ids=1af4:1017 -- vfio.late=1\n",
		moduleDir + "kernel/drivers/vfio/vfio.ko":              "",
		moduleDir + "kernel/drivers/vfio/vfio_iommu_type1.ko":  "",
		moduleDir + "kernel/drivers/vfio/pci/vfio-pci.ko":      "",
		moduleDir + "kernel/drivers/vfio/pci/vfio-pci-core.ko": "",
		moduleDir + "kernel/virt/lib/irqbypass.ko.xz":          "",
		moduleDir + "modules.builtin":                          "kernel/drivers/virtio/virtio_pci.ko\n",
		moduleDir + "modules.dep": `# made by a test
kernel/drivers/vfio/vfio.ko:
kernel/drivers/vfio/vfio_iommu_type1.ko: kernel/drivers/vfio/vfio.ko

kernel/drivers/vfio/pci/vfio-pci-core.ko: kernel/virt/lib/irqbypass.ko.xz kernel/drivers/vfio/vfio.ko
kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/pci/vfio-pci-core.ko kernel/virt/lib/irqbypass.ko.xz kernel/drivers/vfio/vfio.ko
kernel/virt/lib/irqbypass.ko.xz:
`,
	}
}

// newModuleMachine has a kernel that shows loaded modules in /sys, as a real one does.
func newModuleMachine(t *testing.T) *testMachine {
	m := newTestMachine(t, moduleFiles())
	appear := func(file string, paths ...string) {
		m.onLoad[file] = func() {
			m.write("sys/module/"+modules.Name(file)+"/initstate", "live\n")
			for _, path := range paths {
				m.write(path, "N\n")
			}
		}
	}
	appear("irqbypass.ko.xz")
	appear("vfio.ko", vfioContainer)
	appear("vfio_iommu_type1.ko", unsafeInterrupts[0])
	appear("vfio-pci-core.ko")
	appear("vfio-pci.ko", vfioPCI+"/bind")
	return m
}

func TestLoadModulesInOrder(t *testing.T) {
	m := newModuleMachine(t)
	if err := m.loadModules("virtio-pci", "vfio", "vfio_iommu_type1", "vfio-pci"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"load vfio.ko",
		"load vfio_iommu_type1.ko dma_entry_limit=9",
		"load irqbypass.ko.xz",
		"load vfio-pci-core.ko",
		"load vfio-pci.ko ids=1af4:1017",
	}
	if diff := cmp.Diff(want, m.calls); diff != "" {
		t.Errorf("loads (-want +got):\n%s", diff)
	}
	if m.flags["irqbypass.ko.xz"] != unix.MODULE_INIT_COMPRESSED_FILE || m.flags["vfio.ko"] != 0 {
		t.Errorf("flags of the loads: %v", m.flags)
	}
	m.calls = nil
	if err := m.loadModules("vfio", "vfio_pci"); err != nil || len(m.calls) > 0 {
		t.Errorf("a second time: %v, %q", err, m.calls)
	}
}

func TestLoadModulesErrors(t *testing.T) {
	for _, test := range []struct {
		name  string
		file  string
		errno error
		want  []string // parts of the error; none: no error
	}{
		{"in the meantime", "vfio.ko", unix.EEXIST, nil},
		{"another kernel's", "vfio.ko", unix.ENOEXEC, []string{"vfio for vfio_pci", "not made for this kernel"}},
		{"without its symbols", "vfio-pci.ko", unix.ENOENT, []string{"vfio_pci for vfio_pci", "not made for this kernel"}},
		{"no decompression", "irqbypass.ko.xz", unix.EOPNOTSUPP, []string{"irqbypass for vfio_pci", "irqbypass.ko.xz", "uncompressed"}},
		{"an old kernel's decompression", "irqbypass.ko.xz", unix.EINVAL, []string{"uncompressed"}},
		{"parameters", "vfio-pci.ko", unix.EINVAL, []string{`parameters "ids=1af4:1017"`}},
		{"something else", "vfio-pci.ko", unix.EKEYREJECTED, []string{"vfio_pci", unix.EKEYREJECTED.Error()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newModuleMachine(t)
			m.loadErr[test.file] = test.errno
			err := m.loadModules("vfio-pci")
			if test.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, test.errno) {
				t.Fatalf("error %v, want %v in it", err, test.errno)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q has no %q", err, part)
				}
			}
		})
	}
}

func TestMissingModules(t *testing.T) {
	m := newModuleMachine(t)
	err := m.loadModules("pktgen", "tun", "vfio")
	if !errors.Is(err, modules.ErrNoModule) || !strings.Contains(err.Error(), "pktgen") || !strings.Contains(err.Error(), "tun") {
		t.Errorf("error %v, want both missing modules named", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is not one line: %q", err)
	}
	if diff := cmp.Diff([]string{"load vfio.ko"}, m.calls); diff != "" {
		t.Errorf("the module that is there must be loaded (-want +got):\n%s", diff)
	}
	m = newTestMachine(t, nil)
	if err := m.loadModules("vfio"); err == nil || !strings.Contains(err.Error(), "depmod") {
		t.Errorf("without modules.dep: %v, want advice how to make it", err)
	}
	m = newTestMachine(t, map[string]string{moduleDir + "modules.dep": "kernel/vfio.ko:\n"})
	if err := m.loadModules("vfio"); err == nil || !strings.Contains(err.Error(), "kernel/vfio.ko") {
		t.Errorf("a file that modules.dep promises: %v, want its name", err)
	}
	m = newTestMachine(t, map[string]string{moduleDir + "modules.dep": "nonsense\n"})
	if err := m.loadModules("vfio"); err == nil || !strings.Contains(err.Error(), "modules.dep") {
		t.Errorf("a damaged modules.dep: %v", err)
	}
}

func TestAbsolutePathsInModulesDep(t *testing.T) {
	m := newTestMachine(t, map[string]string{
		moduleDir + "kernel/vfio.ko": "",
		moduleDir + "modules.dep":    "/" + moduleDir + "kernel/vfio.ko:\n/elsewhere/x.ko:\n",
	})
	if err := m.loadModules("vfio"); err != nil {
		t.Error(err)
	}
	if err := m.loadModules("x"); err == nil || !strings.Contains(err.Error(), "/elsewhere/x.ko") {
		t.Errorf("a path outside: %v", err)
	}
}
