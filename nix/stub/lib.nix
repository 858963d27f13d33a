# As much of nixpkgs' lib as is used: all by the same names, with the same arguments.
let
  lib = {
    inherit (builtins) all any attrNames attrValues concatMap concatStringsSep elem filter hasAttr head isAttrs isBool isFunction isInt isList isString length
      listToAttrs mapAttrs match replaceStrings tail toJSON;

    # Strings.
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    removePrefix = prefix: text:
      if lib.hasPrefix prefix text then builtins.substring (builtins.stringLength prefix) (builtins.stringLength text) text else text;
    splitString = separator: text: lib.filter lib.isString (builtins.split (lib.escapeRegex separator) text);
    escapeRegex = text: lib.replaceStrings [ "." "/" ] [ "\\." "/" ] text;
    optionalString = condition: text: if condition then text else "";
    concatMapStringsSep = separator: f: list: lib.concatStringsSep separator (map f list);
    escapeShellArg = text: "'${lib.replaceStrings [ "'" ] [ "'\\''" ] text}'";
    makeBinPath = packages: lib.concatMapStringsSep ":" (package: "${package}/bin") packages;

    # Lists and attribute sets.
    optional = condition: element: if condition then [ element ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    unique = builtins.foldl' (found: e: if lib.elem e found then found else found ++ [ e ]) [ ];
    allUnique = list: lib.length (lib.unique list) == lib.length list;
    mapAttrsToList = f: set: map (name: f name set.${name}) (lib.attrNames set);
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = f: set: lib.listToAttrs (lib.mapAttrsToList f set);
    filterAttrs = keep: set: lib.listToAttrs (map (name: lib.nameValuePair name set.${name}) (lib.filter (name: keep name set.${name}) (lib.attrNames set)));

    # Options of a kernel.
    kernel = {
      yes = { tristate = "y"; optional = false; };
      no = { tristate = "n"; optional = false; };
      module = { tristate = "m"; optional = false; };
      freeform = text: { freeform = text; optional = false; };
      option = value: value // { optional = true; };
    };

    licenses.mit = { spdxId = "MIT"; };
  } // import ./modules.nix { inherit lib; };
in
lib
