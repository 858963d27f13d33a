# As much of nixpkgs as this directory uses, made of what a machine with Debian's packages has, so that all of it can be evaluated,
# built and booted without nixpkgs and without a network. What it proves and what not is told in cmd/vvufwd/help/nix.md.
#
# `host` names what the machine has: see describe in cmd/internal/nixtest/e2e.
host:
let
  lib = import ./lib.nix;
  builders = import ./builders.nix { inherit lib host; };
  inherit (builders) run links recorder;
in
{
  inherit lib;
  inherit (builders) runCommand writeShellScript;
  inherit (import ./go.nix { inherit lib host run; }) buildGoModule;
  linux = import ./linux.nix { inherit lib host run; };

  stdenv.hostPlatform.linux-kernel.target = "bzImage";

  coreutils = links "coreutils" [ "cat" "id" "mkdir" "mkfifo" "mktemp" "rm" "sleep" "tee" "timeout" ];
  util-linux = links "util-linux" [ "fallocate" ];
  gnugrep = links "gnugrep" [ "grep" ];

  pkgsStatic.busybox = run "busybox" { } "mkdir -p $out/bin; cp ${host.busybox} $out/bin/busybox";
  qemu_kvm = run "qemu" { passAsFile = [ "text" ]; text = host.qemu; } ''
    mkdir -p $out/bin
    cp "$textPath" $out/bin/qemu-system-x86_64
    chmod +x $out/bin/qemu-system-x86_64
  '';

  # No one has these here: what they are told can be looked at.
  cloud-hypervisor = recorder "cloud-hypervisor";
  crosvm = recorder "crosvm";
}
