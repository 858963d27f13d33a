# What vvufwd would refuse, said before a system is built.
{ lib, cfg, ports }:
let
  leadsOut = port: !ports.atSocket port && port.kind != "vvu";
  isolated = port: port.isolate || cfg.isolate && !leadsOut port;
  count = lib.length cfg.ports;
  each = f: lib.concatMap f cfg.ports;
  joined = if cfg.switch then [ cfg.ports ] else builtins.genList (i: [ (port (2 * i)) (port (2 * i + 1)) ]) (count / 2);
  port = builtins.elemAt cfg.ports;
  follows = these: lib.any leadsOut these && !lib.all leadsOut these;
  name = port: "${port.kind}:${port.address}";
  that = port: assertion: message: { inherit assertion; message = "services.vvufwd: port ${name port}: ${message}"; };
in
[
  {
    assertion = cfg.switch || count > 0 && count / 2 * 2 == count;
    message = "services.vvufwd.ports: ${toString count} ports cannot be paired: give an even number, or set switch";
  }
  {
    assertion = !cfg.switch || count >= 2 && count <= 64;
    message = "services.vvufwd.ports: a switch joins 2 to 64 ports, not ${toString count}";
  }
  {
    assertion = cfg.switch || !cfg.isolate;
    message = "services.vvufwd.isolate is for a switch: set switch";
  }
  {
    assertion = count == 0 || !lib.all isolated cfg.ports;
    message = "services.vvufwd: isolated ports reach only ports that are not, and all are isolated: add a NIC, or isolate fewer";
  }
  {
    assertion = !cfg.followLink || lib.any leadsOut cfg.ports;
    message = "services.vvufwd.followLink: no port has a link to follow: it needs a NIC or an interface";
  }
  {
    assertion = !cfg.followLink || !lib.any leadsOut cfg.ports || lib.any follows joined;
    message = "services.vvufwd.followLink: no guest is joined to a port that has a link: ports are paired in the order given";
  }
  {
    assertion = !cfg.noIOMMU || lib.any ports.onPCI cfg.ports;
    message = "services.vvufwd.noIOMMU: no port is a PCI function that an IOMMU could confine";
  }
  {
    # But for macvtap interfaces: each is a new one.
    assertion = lib.allUnique (map name (builtins.filter (p: p.kind != "macvtap") cfg.ports));
    message = "services.vvufwd.ports: one port is named twice";
  }
  {
    assertion = lib.allUnique cfg.cpus;
    message = "services.vvufwd.cpus: one CPU is named twice";
  }
  {
    assertion = !cfg.bind || lib.any ports.onPCI cfg.ports;
    message = "services.vvufwd.bind: no port is a PCI function that could be bound";
  }
  {
    assertion = cfg.queueSize == null || lib.any (port: ports.onPCI port && leadsOut port) cfg.ports;
    message = "services.vvufwd.queueSize: no port is a NIC that vvufwd drives, whose rings could have it";
  }
] ++ each (port: [
  (that port (cfg.switch || port.mac == null && !port.isolate) "mac and isolate are for a switch: set switch")
  (that port (!port.client || ports.atSocket port) "client is for sockets")
  (that port (!ports.atSocket port || lib.hasPrefix "/" port.address) "a socket's path begins with /")
  (that port (!ports.onPCI port || builtins.match "[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f][.][0-7]" port.address != null) "a PCI address looks like 0000:01:00.0")
  (that port (!port.l2nat || lib.elem port.kind [ "nic" "packet" ] && ports.named port) "l2nat is for an interface: kind nic or packet")
  (that port (port.mode == null || lib.elem port.kind [ "xdp" "macvtap" ]) "mode is for the kinds xdp and macvtap")
])
