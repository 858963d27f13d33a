// Package units has the systemd units of a release, examples of their settings, and drop-ins with what few of them need.
package units

import (
	"embed"
	"io/fs"
)

//go:embed *.service *.conf drop-in
var files embed.FS

// DropIns is the directory of the drop-ins.
const DropIns = "drop-in"

// Files are all of them by their names. Those of drop-ins begin with their directory.
func Files() map[string][]byte {
	all := make(map[string][]byte)
	for _, pattern := range []string{"*.*", DropIns + "/*"} {
		names, _ := fs.Glob(files, pattern) // an embedded directory can be read
		for _, name := range names {
			all[name], _ = files.ReadFile(name)
		}
	}
	return all
}
