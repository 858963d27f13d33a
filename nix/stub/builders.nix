# Derivations whose builder is the machine's shell.
{ lib, host }:
rec {
  # A derivation that a script makes, with the attributes in its environment.
  run = name: attributes: script: derivation (attributes // {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/bash";
    # Nix refuses to build where something has made the home directory that it names. And it kills a builder that closes its output,
    # as cp does before it ends: so the last command must not take the shell's place.
    args = [ "-euo" "pipefail" "-c" "export HOME=$NIX_BUILD_TOP\n${script}\nexit 0" ];
    PATH = "/usr/local/bin:/usr/bin:/bin";
  });

  runCommand = run;

  writeShellScript = name: text: run name { passAsFile = [ "text" ]; text = "#!/bin/bash\n${text}"; } ''
    bash -n "$textPath"
    cp "$textPath" $out
    chmod +x $out
  '';

  # A package that has these programs of the machine and no others.
  links = name: programs: run name { } ''
    mkdir -p $out/bin
    for program in ${lib.concatStringsSep " " programs}; do
      ln -s "$(type -P "$program")" $out/bin/
    done
  '';

  # A program that prints its arguments, one a line.
  recorder = name: run name { } ''
    mkdir -p $out/bin
    printf '#!/bin/bash\nprintf "%%s\\n" "$@"\n' > $out/bin/${name}
    chmod +x $out/bin/${name}
  '';
}
