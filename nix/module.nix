# services.vvufwd, a NixOS module: vvufwd on a host or in a driver VM that runs NixOS, and the virtio-vhost-user devices (vvudev) that a
# host gives its driver VMs.
#
#   imports = [ ./vvufwd/nix/module.nix ];
#   services.vvufwd = {
#     enable = true;
#     ports = [ { kind = "vhost-user"; address = "/run/vvufwd/app.sock"; } { kind = "packet"; address = "eth1"; } ];
#   };
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.services.vvufwd;
  ports = import ./port.nix { inherit lib; };
  units = import ./units.nix { inherit lib cfg ports; };

  # A flag's value: systemd and vvufwd part words and fields at other characters.
  word = types.strMatching "[A-Za-z0-9_.:/@+=-]+";
  size = types.strMatching "[0-9]+[KMGT]?";
  duration = types.strMatching "-?([0-9.]+(ns|us|ms|s|m|h))+";
  cpus = mkOption {
    type = types.listOf types.ints.unsigned;
    default = [ ];
    example = [ 2 3 ];
    description = "CPUs, each with a loop pinned to it. Empty: not pinned.";
  };
  extraArgs = mkOption {
    type = types.listOf types.str;
    default = [ ];
    description = "More arguments.";
  };
  maybe = type: description: mkOption { type = types.nullOr type; default = null; inherit description; };
  flag = description: mkOption { type = types.bool; default = false; inherit description; };

  port.options = {
    kind = mkOption {
      type = types.enum ports.kinds;
      description = "Kind of the port: see vvufwd help ports.";
    };
    address = mkOption {
      type = word;
      example = "0000:01:00.0";
      description = "PCI address of a function, path of a socket, or name of an interface.";
    };
    mac = maybe (types.strMatching "([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}") "With switch: the only source address that the port may use.";
    isolate = flag "With switch: no way to other isolated ports.";
    client = flag "Connect to the socket rather than listen at it.";
    l2nat = flag "The interface is a Wi-Fi card in station mode: what is sent there has its address.";
    mode = maybe word "Of an xdp or a macvtap port: a way that is insisted on, such as zerocopy or bridge.";
  };

  device.options = {
    vfioUser = mkOption {
      type = types.path;
      description = "Socket for the driver VM's QEMU.";
    };
    vhostUser = mkOption {
      type = types.path;
      description = "Socket for the app VM's monitor.";
    };
    ram = maybe types.path "File that is the app VM's memory, in a tmpfs or hugetlbfs. The driver VM sees all of it.";
    ramSize = maybe size "Size that the file is given.";
    shadow = maybe size "Size of a region with the frames on their way, which is then all that the driver VM sees.";
    queues = maybe (types.ints.between 1 256) "How many rings can be connected.";
    inherit cpus extraArgs;
  };
in
{
  options.services.vvufwd = {
    enable = flag "Whether to forward packets with vvufwd.";
    package = mkOption {
      type = types.package;
      default = (import ./. { inherit pkgs; }).vvufwd;
      defaultText = lib.literalExpression "(import ./. { inherit pkgs; }).vvufwd";
      description = "The package with vvufwd and vvudev.";
    };
    ports = mkOption {
      type = types.listOf (types.submodule port);
      default = [ ];
      description = "Ports, paired in this order or joined in one switch.";
    };
    switch = flag "Join all ports in one switch that learns addresses.";
    isolate = flag "With switch: no way between app VMs, only to NICs and interfaces.";
    bind = flag "Bind the functions to vfio-pci, and back at the end.";
    noIOMMU = flag "Use functions that no IOMMU confines. The kernel's mode for that has to be on: vfio.enable_unsafe_noiommu_mode=1 in boot.kernelParams.";
    followLink = flag "Take guests' links down with their NIC's.";
    queues = maybe (types.ints.between 1 8) "Queue pairs of each port.";
    queueSize = maybe types.ints.positive "Entries of a NIC's rings.";
    idleAfter = maybe duration "Sleep until a kick when no frame came for this time. Negative: always poll.";
    statsInterval = maybe duration "Print statistics as JSON lines, which go to the journal.";
    logLevel = mkOption {
      type = types.enum [ "debug" "info" "warn" "error" ];
      default = "info";
      description = "The lowest level to log.";
    };
    inherit cpus extraArgs;

    devices = mkOption {
      type = types.attrsOf (types.submodule device);
      default = { };
      description = "virtio-vhost-user devices that this host gives driver VMs, each a vvudev. They do not depend on enable.";
    };
  };

  config = lib.mkMerge [
    (mkIf cfg.enable {
      assertions = import ./assertions.nix { inherit lib cfg ports; };
      systemd.services.vvufwd = units.vvufwd;
      # Their devices' numbers have to be known when the unit starts, which names them by their kind.
      boot.kernelModules = lib.optional (lib.any ports.throughVFIO cfg.ports) "vfio-pci" ++ lib.optional (lib.any (port: port.kind == "macvtap") cfg.ports) "macvtap";
    })
    (mkIf (cfg.devices != { }) {
      assertions = import ./device-assertions.nix { inherit lib; inherit (cfg) devices; };
      systemd.services = lib.mapAttrs' (name: device: lib.nameValuePair "vvudev-${name}" (units.vvudev name device)) cfg.devices;
    })
  ];
}
