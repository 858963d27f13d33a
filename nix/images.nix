# The initramfs of each VM. vvuimage makes both: it takes modules of any kernel, packed in any way, with those that they depend on,
# and refuses a kernel that lacks an option.
{ lib
, runCommand
, vvufwd
, busybox # static
, kernel # a package
, image # file of its image
, modules # directory of its modules, or of the lists that say what is built in: vvufwd can be told to load that, too
, nicModules
}:
let
  # The configuration is where distributions have it, beside the image: whether that has it inside, and can be unpacked, does not matter.
  vvuimage = ''
    ln -s ${image} vmlinuz
    ln -s ${kernel.configfile} config-${kernel.modDirVersion}
    ${vvufwd}/bin/vvuimage --kernel vmlinuz --modules ${modules}'';
  named = names: lib.optionalString (names != [ ]) " --nic-modules ${lib.concatStringsSep "," names}";
in
{
  # vvufwd's arguments are words of the kernel's command line, after " -- ": see ./machines.nix.
  driverInitramfs = runCommand "vvufwd-driver.cpio.gz" { } ''
    ${vvuimage}${named nicModules} -o $out
  '';

  appInitramfs = runCommand "vvufwd-app.cpio.gz" { } ''
    ${vvuimage}${named [ "virtio_pci" "virtio_net" ]} \
      --init ${./app-init.sh} --add ${../cmd/internal/lab/initramfs/app-lease.sh}:/etc/lease.sh --add ${busybox}/bin/busybox:/bin/busybox -o $out
  '';
}
