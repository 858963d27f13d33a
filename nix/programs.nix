# Programs of this repository, static: vvufwd is /init of a VM that has nothing else.
{ lib, buildGoModule, name, subPackages }:
buildGoModule {
  pname = name;
  version = "0-unstable";

  src = builtins.path {
    name = "vvufwd-source";
    path = ../.;
    # What Go builds, so that nothing is built again for a README, a build/ or a .git that changed.
    filter = path: type:
      let
        below = lib.removePrefix (toString ../. + "/") (toString path);
        top = builtins.head (lib.splitString "/" below);
      in
      builtins.elem top [ "cmd" "netfwd" "vfio" "virtio" "vvu" "go.mod" "go.sum" ];
  };

  # The hash of what "go mod vendor" writes. It changes with go.mod and with what is imported; TestVendorHash tells the right one.
  vendorHash = "sha256-wbE+Pdw2ewFRNKxHd9CZUXB4zF0QELBTe2FO16gKhpc=";

  inherit subPackages;
  env.CGO_ENABLED = "0";
  ldflags = [ "-s" "-w" ];
  doCheck = false; # "make test" wants a whole machine

  meta = {
    description = "Forwards packets between virtio-vhost-user devices and NICs";
    license = lib.licenses.mit;
    mainProgram = name;
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
