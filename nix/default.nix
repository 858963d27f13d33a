# vvufwd, and a driver VM and an app VM of one's own:
#
#   nix-build nix -A vvufwd          all programs
#   $(nix-build nix -A demo)         both VMs, and pings from one through the other; the same in three terminals:
#   $(nix-build nix -A device)       the virtio-vhost-user device, which goes first and outlives both VMs
#   $(nix-build nix -A driverVm)     the driver VM
#   $(nix-build nix -A appVm)        the app VM
#
# "vvufwd help nix" (cmd/vvufwd/help/nix.md) has all names, and the variables that the scripts obey.
{ pkgs ? import ./nixpkgs.nix { config = { }; overlays = [ ]; }

  # The kernel of both VMs, such as pkgs.linux. Null: that of ./linux.nix, which needs no modules.
, kernel ? null
  # More options of ./linux.nix, such as { IXGBE = lib.kernel.yes; } for a NIC that stays with the driver VM's kernel.
, kernelOptions ? { }
  # Kernel modules of `kernel` that vvufwd is told to load, such as [ "e1000e" ].
, nicModules ? [ ]
  # A QEMU that has virtio-vhost-user-pci built in, for driverVmFork.
, qemuFork ? null
}:
let
  inherit (pkgs) lib;

  programs = name: subPackages: import ./programs.nix { inherit lib name subPackages; buildGoModule = pkgs.buildGo126Module or pkgs.buildGoModule; };

  # Files of a kernel package: its image, and where its modules are.
  image = k: "${k}/${k.target or pkgs.stdenv.hostPlatform.linux-kernel.target}";
  modules = k: "${k.modules or k}/lib/modules";

  chosen = if kernel == null then self.linux else kernel;
  images = import ./images.nix {
    inherit lib nicModules;
    inherit (pkgs) runCommand;
    inherit (self) vvufwd;
    busybox = pkgs.pkgsStatic.busybox;
    kernel = chosen;
    image = image chosen;
    modules = modules chosen; # of ./linux.nix only lists of what is built in
  };
  machines = import ./machines.nix {
    inherit lib images qemuFork;
    inherit (pkgs) writeShellScript coreutils util-linux gnugrep cloud-hypervisor crosvm;
    inherit (self) vvudev;
    qemu = pkgs.qemu_kvm;
    kernel = image chosen;
  };

  self = {
    vvufwd = programs "vvufwd" (map (name: "cmd/${name}") (lib.filter (lib.hasPrefix "vvu") (lib.attrNames (builtins.readDir ../cmd))));
    vvudev = programs "vvudev" [ "cmd/vvudev" ];

    linux = import ./linux.nix { inherit lib; inherit (pkgs) linux; more = kernelOptions; };
    inherit (images) driverInitramfs appInitramfs;
    inherit (machines) device driverVm driverVmFork appVm appVmCloudHypervisor appVmCrosvm demo;

    # A NixOS module: imports = [ (import ./nix { inherit pkgs; }).module ];
    module = ./module.nix;
  };
in
self
