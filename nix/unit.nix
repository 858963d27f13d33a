# What a unit file says in its section [Service]: settings by their names, with a list where a name is there more than once.
file:
let
  text = builtins.readFile file;
  # A line that begins with [ begins a section; what is between two of those is a list of the name.
  sections = builtins.tail (builtins.split "(^|\n)(\\[[A-Za-z]+])" text);
  named = name: list:
    if list == [ ] then throw "${toString file} has no section ${name}"
    else if builtins.elemAt (builtins.head list) 1 == name then builtins.elemAt list 1
    else named name (builtins.tail (builtins.tail list));
  settings = builtins.concatMap
    (line: let parts = if builtins.isString line then builtins.match "([A-Za-z]+)=(.*)" line else null; in
      if parts == null then [ ] else [ { name = builtins.elemAt parts 0; value = builtins.elemAt parts 1; } ])
    (builtins.split "\n" (named "[Service]" sections));
in
builtins.mapAttrs
  (_: same: if builtins.length same == 1 then (builtins.head same).value else map (setting: setting.value) same)
  (builtins.groupBy (setting: setting.name) settings)
