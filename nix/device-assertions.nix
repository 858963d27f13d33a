# What vvudev would refuse.
{ lib, devices }:
let
  sockets = lib.concatMap (device: [ device.vfioUser device.vhostUser ]) (lib.attrValues devices);
  files = lib.filter (file: file != null) (map (device: device.ram) (lib.attrValues devices));
in
[
  {
    assertion = lib.allUnique sockets;
    message = "services.vvufwd.devices: each socket is for one device and one side of it";
  }
  {
    assertion = lib.allUnique files;
    message = "services.vvufwd.devices: each app VM has a ram file of its own";
  }
] ++ lib.concatMap
  (name:
    let device = devices.${name}; that = assertion: message: { inherit assertion; message = "services.vvufwd.devices.${name}: ${message}"; };
    in [
      (that ((device.ram == null) != (device.shadow == null)) "give either ram, the file that is the app VM's memory, or shadow")
      (that (device.ramSize == null || device.ram != null) "ramSize is the size of ram, which is not set")
      (that (device.cpus == [ ] || device.shadow != null) "cpus are for a shadow: without one vvudev forwards nothing")
    ])
  (lib.attrNames devices)
