# A kernel package: Debian's, which has as modules what our own has built in. Its override looks at the options and builds nothing:
# all must be options that the configuration of Debian's newer kernel names, which is nearer to nixpkgs' than the one that is booted.
{ lib, host, run }:
let
  # All options that it names, also those that are not set.
  option = line: builtins.match "(# )?CONFIG_([A-Za-z0-9_]+)[= ].*" line;
  lines = lib.filter (line: option line != null) (lib.splitString "\n" (builtins.readFile host.newerConfig));
  options = lib.listToAttrs (map (line: lib.nameValuePair (builtins.elemAt (option line) 1) true) lines);

  kernel = run "linux" { outputs = [ "out" "modules" ]; } ''
    mkdir -p $out $modules/lib
    cp ${host.kernel} $out/bzImage
    ln -s ${host.kernelModules} $modules/lib/modules
  '';

  check = name: value:
    if !(value ? tristate || value ? freeform) then throw "structuredExtraConfig: ${name} has no value of lib.kernel"
    else if !(options ? ${name}) then throw "structuredExtraConfig: no kernel has an option ${name}"
    else "CONFIG_${name}=${value.tristate or value.freeform}";
in
kernel // {
  target = "bzImage";
  configfile = host.kernelConfig;
  modDirVersion = lib.removePrefix "config-" (baseNameOf host.kernelConfig);

  override =
    { structuredExtraConfig ? { }, defconfig ? null, enableCommonConfig ? true, autoModules ? true, ignoreConfigErrors ? false }:
    run "linux-options" { passAsFile = [ "options" ]; options = lib.concatStringsSep "\n" (lib.mapAttrsToList check structuredExtraConfig); } ''
      cp "$optionsPath" $out
    '';
}
