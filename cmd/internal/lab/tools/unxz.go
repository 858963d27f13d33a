package tools

import (
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// decompressed are how many modules are handed to one busybox: their paths must fit a command line.
const decompressed = 200

// decompressModules replaces the modules below dir that are compressed with xz, as those of newer kernel packages are: what they
// depend on stands in the modules themselves, and the package has no list of it. What an interrupted run left is finished.
func decompressModules(ctx context.Context, busybox, dir string) error {
	program, err := filepath.Abs(busybox) // a name without a slash would be looked for in PATH
	if err != nil {
		return err
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".ko.xz") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("decompress kernel modules: %w", err)
	}
	for some := range slices.Chunk(files, decompressed) {
		if out, err := exec.CommandContext(ctx, program, append([]string{"unxz", "-f"}, some...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("decompress kernel modules in %s: %w: %s", dir, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
