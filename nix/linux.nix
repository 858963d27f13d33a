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
    IPV6_SIT = no; # else a tunnel, from Linux 7 on in a module
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
  structuredExtraConfig = userspace // machine // devices // network // confinement // rest // more;
}
