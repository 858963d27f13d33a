# buildGoModule: arguments that nixpkgs' does not have are errors here, too. Nix itself compares vendorHash. The compiler and its
# caches are the machine's, so that only what they do not have yet is compiled.
{ lib, host, run }:
{
  buildGoModule =
    { pname, version, src, vendorHash, subPackages, env ? { }, ldflags ? [ ], doCheck ? true, meta ? { } }:
    let
      go = {
        GO111MODULE = "on";
        GOTOOLCHAIN = "local";
        GOPROXY = "off";
        GOMODCACHE = host.goModCache;
        GOCACHE = host.goCache;
      };
      goModules = run "${pname}-go-modules" (go // { outputHashMode = "recursive"; outputHash = vendorHash; GOFLAGS = "-mod=mod"; }) ''
        cd ${src}
        ${host.go} mod vendor -o $out
      '';
    in
    (run "${pname}-${version}" (go // env // { GOFLAGS = "-mod=vendor -trimpath"; }) ''
      cp -r ${src} source
      chmod -R u+w source
      cd source
      ln -s ${goModules} vendor
      mkdir -p $out/bin
      for package in ${lib.concatStringsSep " " subPackages}; do
        ${host.go} build -ldflags ${lib.escapeShellArg (toString (ldflags ++ [ "-buildid=" ]))} -o $out/bin/ "./$package"
      done
    '') // { inherit pname version src meta goModules; };
}
