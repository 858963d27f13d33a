# What is known of ports by their kind. A test compares the kinds with vvufwd's own.
{ lib }:
let
  # Rights that a port of a kind takes when it is opened, besides those of drop-ins (./units.nix); vvufwd gives them up before it
  # looks at what a peer says.
  functions = { vfio = true; capabilities = [ ]; families = [ ]; };
  interface = capabilities: families: { vfio = false; inherit capabilities families; };
  table = {
    vvu = functions;
    nic = functions;
    virtio-net = functions;
    e1000e = functions;
    igb = functions;
    igbvf = functions;
    vhost-user = interface [ ] [ ];
    tap = interface [ "CAP_NET_ADMIN" ] [ "AF_INET" "AF_NETLINK" ];
    macvtap = interface [ "CAP_NET_ADMIN" ] [ "AF_INET" "AF_NETLINK" ];
    packet = interface [ "CAP_NET_RAW" ] [ "AF_INET" "AF_NETLINK" "AF_PACKET" ];
    xdp = interface [ "CAP_NET_ADMIN" "CAP_NET_RAW" "CAP_BPF" "CAP_IPC_LOCK" ] [ "AF_INET" "AF_NETLINK" "AF_PACKET" "AF_XDP" ];
  };
in
rec {
  kinds = lib.attrNames table;

  # A NIC that is named by an interface's name stays with its driver; vvufwd then chooses between xdp and packet.
  named = port: builtins.match "[^:]+" port.address != null;
  onPCI = port: table.${port.kind}.vfio && !(port.kind == "nic" && named port);
  of = port: if port.kind == "nic" && named port then table.xdp else table.${port.kind};

  throughVFIO = onPCI;
  atSocket = port: port.kind == "vhost-user";

  # How vvufwd is told.
  argument = port:
    "${port.kind}:${port.address}"
    + lib.optionalString port.client ",client"
    + lib.optionalString (port.mac != null) ",mac=${port.mac}"
    + lib.optionalString port.isolate ",isolate"
    + lib.optionalString port.l2nat ",l2nat"
    + lib.optionalString (port.mode != null) ",mode=${port.mode}";
}
