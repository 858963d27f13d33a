# evalModules in small: options with types, imports, mkIf, mkMerge and submodules. What nixpkgs' has besides (priorities, freeform
# modules, documentation) is not used. A test compares results with what the module's text says; nixpkgs' own gave the same.
{ lib }:
let
  inherit (builtins) concatMap elem filter foldl' head isAttrs isBool isFunction isInt isList isPath isString tail;

  tagged = tag: v: isAttrs v && v._type or null == tag;
  show = path: lib.concatStringsSep "." path;

  # What a definition comes to: its contents, each with the conditions that it depends on.
  contents = v:
    if tagged "if" v then map (d: d // { when = v.condition && d.when; }) (contents v.content)
    else if tagged "merge" v then concatMap contents v.contents
    else [{ when = true; value = v; }];

  # Definitions of one option within a module's config. Conditions are not looked at: they may depend on other options.
  at = path: v:
    concatMap
      (d:
        if path == [ ] then [ d ]
        else if isAttrs d.value && d.value ? ${head path} then map (inner: inner // { when = d.when && inner.when; }) (at (tail path) d.value.${head path})
        else [ ])
      (contents v);

  # Everything that a module defines must be an option.
  undeclared = path: options: v:
    concatMap
      (d: concatMap
        (name:
          if !(options ? ${name}) then [ (show (path ++ [ name ])) ]
          else if tagged "option" options.${name} then [ ]
          else undeclared (path ++ [ name ]) options.${name} d.value.${name})
        (lib.attrNames d.value))
      (contents v);

  join = path: a: b:
    a // lib.mapAttrs
      (name: v:
        if !(a ? ${name}) then v
        else if tagged "option" v || tagged "option" a.${name} then throw "The option `${show (path ++ [ name ])}' is declared twice"
        else join (path ++ [ name ]) a.${name} v)
      b;

  type = name: check: { inherit name check; merge = path: values: one path values; };
  one = path: values:
    if lib.all (v: v == head values) values then head values else throw "The option `${show path}' has conflicting definition values";

  types = {
    bool = type "boolean" isBool;
    str = type "string" isString;
    path = type "absolute path" (v: isPath v || isString v && lib.hasPrefix "/" v);
    package = type "package" (v: isAttrs v && v.type or null == "derivation");
    anything = type "anything" (_: true);
    enum = values: type "one of ${builtins.toJSON values}" (v: elem v values);
    strMatching = pattern: type "string matching the pattern ${pattern}" (v: isString v && builtins.match pattern v != null);
    ints = {
      unsigned = type "unsigned integer" (v: isInt v && v >= 0);
      positive = type "positive integer" (v: isInt v && v > 0);
      between = low: high: type "integer between ${toString low} and ${toString high}" (v: isInt v && v >= low && v <= high);
    };
    nullOr = inner: type "null or ${inner.name}" (v: v == null || inner.check v) // {
      merge = path: values: if lib.all (v: v == null) values then null else inner.merge path values;
    };
    listOf = inner: type "list of ${inner.name}" isList // {
      merge = path: values: map (v: checked path inner [ v ]) (lib.concatMap (v: v) values);
    };
    attrsOf = inner: type "attribute set of ${inner.name}" isAttrs // {
      merge = path: values: lib.mapAttrs (name: definitions: checked (path ++ [ name ]) inner definitions) (builtins.zipAttrsWith (_: all: all) values);
    };
    submodule = module: type "submodule" isAttrs // {
      merge = path: values: (evaluate path ([ module ] ++ map (config: { inherit config; }) values) { }).config;
    };
  };

  checked = path: t: values:
    let wrong = filter (v: !t.check v) values; in
    if wrong != [ ] then throw "A definition for option `${show path}' is not of type `${t.name}'" else t.merge path values;

  evaluate = prefix: modules: specialArgs:
    let
      arguments = specialArgs // { inherit lib config options; };
      load = m:
        let
          v = if isPath m then import m else m;
          set = if isFunction v then v arguments else v;
          full = set ? options || set ? config || set ? imports;
          strange = filter (name: !elem name [ "options" "config" "imports" ]) (lib.attrNames set);
        in
        if !full then [{ config = set; options = { }; }]
        else if strange != [ ] then throw "Module has an unsupported attribute `${head strange}'"
        else concatMap load (set.imports or [ ]) ++ [{ config = set.config or { }; options = set.options or { }; }];

      all = concatMap load modules;
      options = foldl' (join prefix) { } (map (m: m.options) all);
      value = path: v:
        if tagged "option" v
        then
          let
            definitions = concatMap (m: at path m.config) all;
            values = concatMap (d: if d.when then map (inner: inner.value) (filter (inner: inner.when) (contents d.value)) else [ ]) definitions;
            name = prefix ++ path;
          in
          if values != [ ] then checked name v.type values
          else if v ? default then checked name v.type [ v.default ]
          else throw "The option `${show name}' is used but not defined"
        else lib.mapAttrs (name: value (path ++ [ name ])) v;
      config = value [ ] options;
      unknown = concatMap (m: undeclared prefix options m.config) all;
    in
    if unknown != [ ] then throw "The option `${head unknown}' does not exist" else { inherit config options; };
in
{
  inherit types;
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOption = { type, default ? null, defaultText ? null, description, example ? null }@option: option // { _type = "option"; };
  literalExpression = text: { _type = "literalExpression"; inherit text; };
  evalModules = { modules, specialArgs ? { } }: evaluate [ ] modules specialArgs;
}
