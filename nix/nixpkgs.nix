# The nixpkgs that all of this is written for: nixos-26.05. Its QEMU has the vfio-user-pci device (10.1 or later), its Go is 1.26.
import (fetchTarball {
  url = "https://github.com/NixOS/nixpkgs/archive/21a67dc470149f337cecafbe965d8d252a390518.tar.gz";
  sha256 = "sha256-ugpsyk3NM2s87vXfUIiIIiibbJ4Pp0JPS5p/3mfs+q+c=";
})
