package e2e

import (
	"encoding/json"
	"testing"

	"vvufwd/cmd/internal/lab/kernel"
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
		if debian.Value(name) == "" || ours.Value(name) != debian.Value(name) {
			t.Errorf("nix/linux.nix has %s=%q; Debian's kernel has %q", name, ours.Value(name), debian.Value(name))
		}
	}
	for _, name := range beyondDebian {
		if ours.Value(name) != "y" {
			t.Errorf("nix/linux.nix has %s=%q", name, ours.Value(name))
		}
	}
	for _, name := range off {
		if ours.Value(name) != "n" {
			t.Errorf("nix/linux.nix has %s=%q", name, ours.Value(name))
		}
	}
}

// options reads a kernel's configuration, or what is asked for of one.
func options(t *testing.T, path string) *kernel.Config {
	t.Helper()
	c, err := kernel.ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
