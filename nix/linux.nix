# The kernel of both VMs: the kernel's own tinyconfig and what is listed here, all of it built in, so that neither image has a
# module. An option that does not exist, or whose dependencies are missing, fails the build (ignoreConfigErrors).
#
# vvuimage checks the result as it does any kernel, and a test compares this list with what vvuimage asks for.
{ lib, linux, more ? { } }:
let
  inherit (lib.kernel) yes no option freeform;

  # Programs, an initramfs in gzip, and the file systems that /init mounts.
  userspace = {
    ADVISE_SYSCALLS = yes;
    BINFMT_ELF = yes;
    BINFMT_SCRIPT = yes;
    BLK_DEV_INITRD = yes;
    DEVTMPFS = yes;
    EPOLL = yes;
    EVENTFD = yes;
    FILE_LOCKING = yes;
    FUTEX = yes;
    HUGETLBFS = yes;
    MEMBARRIER = yes;
    MEMFD_CREATE = yes;
    MULTIUSER = yes;
    POSIX_TIMERS = yes;
    PROC_FS = yes;
    PROC_SYSCTL = option yes; # gone by Linux 7.3; before it selects SYSCTL
    RD_GZIP = yes;
    SHMEM = yes;
    SIGNALFD = yes;
    SYSCTL = yes;
    SYSFS = yes;
    TIMERFD = yes;
    TMPFS = yes;
  };

  # A machine of QEMU's, cloud-hypervisor's or crosvm's with several processors and a serial console.
  machine = {
    ACPI = yes;
    HIGH_RES_TIMERS = yes;
    HYPERVISOR_GUEST = yes;
    KVM_GUEST = yes;
    NO_HZ_IDLE = yes;
    NR_CPUS = freeform "64";
    PARAVIRT = yes;
    PCI = yes;
    PCI_MSI = yes;
    PNP = yes;
    PRINTK = yes;
    SERIAL_8250 = yes;
    SERIAL_8250_CONSOLE = yes;
    SERIAL_8250_PNP = yes;
    SMP = yes;
    TTY = yes;
    X86_PKG_TEMP_THERMAL = option no; # else a module
    X86_X2APIC = yes;
  };

  # The devices: VFIO with an IOMMU and without one, for vvufwd's own drivers, and virtio's for the kernel.
  devices = {
    DEVMEM = yes;
    INTEL_IOMMU = yes;
    IOMMU_SUPPORT = yes;
    IRQ_REMAP = yes;
    VFIO = yes;
    VFIO_NOIOMMU = yes;
    VFIO_PCI = yes;
    VIRTIO_CONSOLE = yes;
    VIRTIO_IOMMU = yes;
    VIRTIO_MENU = yes;
    VIRTIO_NET = yes;
    VIRTIO_PCI = yes;
    VIRTIO_VSOCKETS = yes;
  };

  # The network of the app VM, and interfaces that stay with the driver VM's kernel (--nic eth0, --port xdp:eth0, tap:, macvtap:).
  network = {
    BPF_JIT = yes;
    BPF_SYSCALL = yes;
    ETHTOOL_NETLINK = yes;
    INET = yes;
    IPV6_SIT = no; # else a tunnel, and by Linux 7.3 in a module
    MACVLAN = yes;
    MACVTAP = yes;
    NET = yes;
    NETDEVICES = yes;
    NET_CORE = yes;
    PACKET = yes;
    TUN = yes;
    UNIX = yes;
    VSOCKETS = yes;
    XDP_SOCKETS = yes;
  };

  # What vvufwd gives up its privileges with.
  confinement = {
    LSM = freeform "landlock";
    SECCOMP = yes;
    SECCOMP_FILTER = yes;
    SECURITY = yes;
    SECURITY_LANDLOCK = yes;
  };

  # The kernel's defence of itself, which tinyconfig leaves out: all that Debian's kernels have of it, and what costs nothing here.
  # What is named is compared with the result, so options that are on by default are named, too; but for the mitigations that
  # CPU_MITIGATIONS brings along, of which each release has new ones.
  hardening = {
    BPF_JIT_ALWAYS_ON = yes; # and no interpreter
    BPF_UNPRIV_DEFAULT_OFF = yes;
    BUG = yes; # else a check that fails has no consequence
    BUG_ON_DATA_CORRUPTION = yes; # ends what has found it
    CPU_MITIGATIONS = yes;
    DEFAULT_MMAP_MIN_ADDR = freeform "65536"; # nothing is where a null pointer leads
    FORTIFY_SOURCE = yes;
    HARDENED_USERCOPY = yes;
    INIT_ON_ALLOC_DEFAULT_ON = yes;
    INIT_STACK_ALL_ZERO = yes;
    IOMMU_DEFAULT_DMA_STRICT = yes; # a NIC that the kernel drives loses what it was lent at once
    IO_STRICT_DEVMEM = yes; # vvufwd maps through it what no driver has
    LEGACY_PTYS = no;
    LEGACY_TIOCSTI = no;
    LEGACY_VSYSCALL_NONE = yes;
    LIST_HARDENED = yes;
    MITIGATION_PAGE_TABLE_ISOLATION = yes;
    MITIGATION_RETPOLINE = yes;
    MITIGATION_SLS = yes; # the only one that is off by default
    PROC_MEM_NO_FORCE = yes; # no way around memory that is read-only or not to be executed
    RANDOMIZE_BASE = yes;
    RANDOMIZE_KSTACK_OFFSET = yes;
    RANDOMIZE_KSTACK_OFFSET_DEFAULT = yes;
    RANDOMIZE_MEMORY = yes;
    RELOCATABLE = yes;
    SCHED_STACK_END_CHECK = yes;
    SECURITY_DMESG_RESTRICT = yes;
    SLAB_BUCKETS = yes;
    SLAB_FREELIST_HARDENED = yes;
    SLAB_FREELIST_RANDOM = yes;
    SLUB_DEBUG = no; # brings the ORC unwinder along
    SLUB_TINY = no; # excludes SLAB_*
    STACKPROTECTOR = yes;
    STACKPROTECTOR_STRONG = yes;
    STRICT_DEVMEM = yes;
    STRICT_KERNEL_RWX = yes;
    STRICT_MODULE_RWX = yes;
    SYN_COOKIES = yes;
    USERFAULTFD = no; # would have a fault of the kernel's wait for as long as one likes
    VMAP_STACK = yes;
    X86_KERNEL_IBT = yes;
    X86_UMIP = yes;
  };

  # nixpkgs wants to install modules, of which there are none; and what is unpacked faster boots faster.
  rest = {
    KERNEL_GZIP = yes;
    MODULES = yes;
  };
in
linux.override {
  defconfig = "tinyconfig";
  enableCommonConfig = false;
  autoModules = false;
  ignoreConfigErrors = false;
  structuredExtraConfig = userspace // machine // devices // network // confinement // hardening // rest // more;
}
