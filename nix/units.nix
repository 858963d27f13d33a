# The systemd units. Both programs give up nearly all that they are left with here, as soon as they have opened what they need (see
# vvufwd help security); this bounds what they have until then.
{ lib, cfg, ports }:
let
  # systemd expands % and $, and takes words in C's quotes.
  command = words: lib.concatMapStringsSep " " (word: builtins.toJSON (lib.replaceStrings [ "%" "$" ] [ "%%" "$$" ] word)) words;
  value = flag: v: lib.optionals (v != null) [ flag (toString v) ];
  numbers = flag: list: lib.optionals (list != [ ]) [ flag (lib.concatMapStringsSep "," toString list) ];
  set = flag: on: lib.optional on flag;

  # The sandbox is that of the units that other distributions get: all of a unit's settings but what depends on where NixOS has files.
  sandbox = unit: removeAttrs (import ./unit.nix unit) [ "EnvironmentFile" "ExecStart" "WorkingDirectory" ] // {
    RuntimeDirectory = "vvufwd";
    RuntimeDirectoryPreserve = true; # other units have sockets there
  };
  # What few ports need and the unit does not have are the drop-ins that other distributions get.
  dropIns = map (name: import ./unit.nix (../cmd/internal/dist/units + "/drop-in/${name}.conf")) (
    lib.optional vfio "pci"
    ++ lib.optional cfg.bind "bind"
    ++ lib.optional cfg.noIOMMU "noiommu"
    ++ lib.optional (of "macvtap") "macvtap"
    ++ lib.optional (more ".*vsock:.*") "vsock" # --control and --capture
  );
  added = setting: lib.concatMap (dropIn: let v = dropIn.${setting} or [ ]; in if lib.isList v then v else [ v ]) dropIns;
  wordsAdded = setting: lib.concatMap (lib.splitString " ") (added setting);
  directories = paths: map (path: "-${builtins.dirOf path}") paths;

  kinds = map ports.of cfg.ports;
  vfio = lib.any ports.onPCI cfg.ports;
  of = kind: lib.any (port: port.kind == kind) cfg.ports;
  tap = of "tap" || of "macvtap";
  more = pattern: lib.any (word: builtins.match pattern word != null) cfg.extraArgs;
in
{
  vvufwd = {
    description = "Forward packets between app VMs and NICs";
    wantedBy = [ "multi-user.target" ];
    after = [ "network-pre.target" ];
    # What its ports need is known, which is less than what the unit has for all.
    serviceConfig = sandbox (../cmd/internal/dist/units + "/vvufwd@.service") // {
      ExecStart = command (
        [ "${cfg.package}/bin/vvufwd" ]
        ++ lib.concatMap (port: [ "--port" (ports.argument port) ]) cfg.ports
        ++ set "--switch" cfg.switch
        ++ set "--isolate" cfg.isolate
        ++ set "--bind" cfg.bind
        ++ set "--noiommu" cfg.noIOMMU
        ++ set "--follow-link" cfg.followLink
        ++ numbers "--cpus" cfg.cpus
        ++ value "--queues" cfg.queues
        ++ value "--queue-size" cfg.queueSize
        ++ value "--idle-after" cfg.idleAfter
        ++ lib.optionals (cfg.statsInterval != null) [ "--stats-json" "--stats" cfg.statsInterval ]
        ++ [ "--log-level" cfg.logLevel ]
        ++ cfg.extraArgs
      );
      CapabilityBoundingSet = lib.concatStringsSep " " (lib.unique (lib.concatMap (kind: kind.capabilities) kinds ++ wordsAdded "CapabilityBoundingSet"));
      RestrictAddressFamilies = lib.unique (
        [ "AF_UNIX" "AF_NETLINK" ]
        ++ lib.concatMap (kind: kind.families) kinds
        ++ lib.optionals (more "--?metrics.*") [ "AF_INET" "AF_INET6" ]
        ++ wordsAdded "RestrictAddressFamilies"
      );
      RestrictNamespaces = if added "RestrictNamespaces" == [ ] then true else lib.concatStringsSep " " (added "RestrictNamespaces");
      DeviceAllow = lib.optional tap "/dev/net/tun rw" ++ added "DeviceAllow";
      PrivateDevices = !vfio && !tap;
      ProtectKernelTunables = added "ProtectKernelTunables" == [ ]; # which drop-ins switch off
      StateDirectory = "vvufwd";
      ReadWritePaths = directories (map (port: port.address) (lib.filter ports.atSocket cfg.ports));
      LimitMEMLOCK = "infinity";
    };
  };

  vvudev = name: device: {
    description = "virtio-vhost-user device ${name}";
    wantedBy = [ "multi-user.target" ];
    serviceConfig = sandbox (../cmd/internal/dist/units + "/vvudev@.service") // {
      ExecStart = command (
        [ "${cfg.package}/bin/vvudev" "--vfio-user" (toString device.vfioUser) "--vhost-user" (toString device.vhostUser) ]
        ++ value "--ram" device.ram
        ++ value "--create-ram" device.ramSize
        ++ value "--shadow" device.shadow
        ++ value "--queues" device.queues
        ++ numbers "--cpus" device.cpus
        ++ device.extraArgs
      );
      ReadWritePaths = directories ([ device.vfioUser device.vhostUser ] ++ lib.optional (device.ram != null) device.ram);
    };
  };
}
