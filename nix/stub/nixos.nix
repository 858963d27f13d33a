# What NixOS makes of ../module.nix and a configuration of its user's: messages of assertions that fail, and the units.
{ pkgs, configuration, modules ? [ ] }:
let
  inherit (pkgs) lib;

  # Those of NixOS' own options that the module defines.
  nixos.options = {
    assertions = lib.mkOption { type = lib.types.listOf lib.types.anything; default = [ ]; description = ""; };
    boot.kernelModules = lib.mkOption { type = lib.types.listOf lib.types.str; default = [ ]; description = ""; };
    systemd.services = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; description = ""; };
  };

  inherit (lib.evalModules { modules = [ nixos ../module.nix { services.vvufwd = configuration; } ] ++ modules; specialArgs = { inherit pkgs; }; }) config;
in
{
  refused = map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
  services = config.systemd.services;
  inherit (config.boot) kernelModules;
}
