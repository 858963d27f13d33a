// Package units has the systemd units of a release, and examples of their settings.
package units

import (
	"embed"
	"io/fs"
)

//go:embed *.service *.conf
var files embed.FS

// Files are all of them by their names.
func Files() map[string][]byte {
	all := make(map[string][]byte)
	names, _ := fs.Glob(files, "*") // an embedded directory can be read
	for _, name := range names {
		all[name], _ = files.ReadFile(name)
	}
	return all
}
