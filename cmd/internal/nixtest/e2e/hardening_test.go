package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
)

// asDebian are options of the kernel's own defence that Debian's kernel has and tinyconfig has not. The mitigations that
// CPU_MITIGATIONS brings along are not asked for one by one.
var asDebian = []string{
	"BPF_UNPRIV_DEFAULT_OFF", "BUG", "BUG_ON_DATA_CORRUPTION", "CPU_MITIGATIONS", "DEFAULT_MMAP_MIN_ADDR",
	"FORTIFY_SOURCE", "HARDENED_USERCOPY", "INIT_ON_ALLOC_DEFAULT_ON", "INIT_STACK_ALL_ZERO",
	"IO_STRICT_DEVMEM", "LEGACY_VSYSCALL_NONE", "LIST_HARDENED", "MITIGATION_PAGE_TABLE_ISOLATION", "MITIGATION_RETPOLINE", "MITIGATION_SLS",
	"RANDOMIZE_BASE", "RANDOMIZE_KSTACK_OFFSET", "RANDOMIZE_KSTACK_OFFSET_DEFAULT", "RANDOMIZE_MEMORY", "RELOCATABLE", "SCHED_STACK_END_CHECK",
	"SECURITY_DMESG_RESTRICT", "SLAB_BUCKETS", "SLAB_FREELIST_HARDENED", "SLAB_FREELIST_RANDOM", "STACKPROTECTOR", "STACKPROTECTOR_STRONG",
	"STRICT_DEVMEM", "STRICT_KERNEL_RWX", "STRICT_MODULE_RWX", "SYN_COOKIES", "VMAP_STACK", "X86_KERNEL_IBT", "X86_UMIP",
}

// beyondDebian are those that it does not have.
var beyondDebian = []string{"BPF_JIT_ALWAYS_ON", "IOMMU_DEFAULT_DMA_STRICT", "PROC_MEM_NO_FORCE"}

// off are those that weaken it.
var off = []string{"LEGACY_PTYS", "LEGACY_TIOCSTI", "SLUB_TINY", "USERFAULTFD"}

// TestHardening has the kernel of nix/linux.nix defend itself as Debian's does, at least.
func TestHardening(t *testing.T) {
	n := open(t)
	built, err := n.build(t, "null", "linux")
	if err != nil {
		t.Fatal(err)
	}
	var host struct{ NewerConfig string }
	if err := json.Unmarshal([]byte(n.host), &host); err != nil {
		t.Fatal(err)
	}
	ours, debian := options(t, built["linux"]), options(t, host.NewerConfig)
	for _, name := range asDebian {
		if debian[name] == "" || ours[name] != debian[name] {
			t.Errorf("nix/linux.nix has %s=%q; Debian's kernel has %q", name, ours[name], debian[name])
		}
	}
	for _, name := range beyondDebian {
		if ours[name] != "y" {
			t.Errorf("nix/linux.nix has %s=%q", name, ours[name])
		}
	}
	for _, name := range off {
		if ours[name] != "n" {
			t.Errorf("nix/linux.nix has %s=%q", name, ours[name])
		}
	}
}

// options reads a kernel's configuration, or what is asked for of one.
func options(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^CONFIG_(\w+)=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		values[m[1]] = m[2]
	}
	return values
}
