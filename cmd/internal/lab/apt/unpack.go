package apt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// stampName is the file that says that a directory holds all of its packages.
const stampName = ".packages.json"

// stamp is the content of that file.
type stamp struct {
	// Release is the suite the packages came from.
	Release string `json:"release"`
	// Packages are the names of the package files.
	Packages []string `json:"packages"`
}

// Unpacked reports whether Unpack finished in dir, and from which release.
func Unpacked(dir string) (release string, complete bool) {
	text, err := os.ReadFile(filepath.Join(dir, stampName))
	if err != nil {
		return "", false
	}
	var s stamp
	if err := json.Unmarshal(text, &s); err != nil || len(s.Packages) == 0 {
		return "", false
	}
	return s.Release, true
}

// Unpack unpacks package files into dir, replacing it whole. dir appears only when everything is in it; what an interrupted
// run left is thrown away.
func Unpack(ctx context.Context, dir, release string, packages []string) error {
	partial := dir + ".partial"
	for _, old := range []string{partial, dir} {
		if err := os.RemoveAll(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpack packages: %w", err)
		}
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return fmt.Errorf("unpack packages: %w", err)
	}
	s := stamp{Release: release}
	for _, file := range packages {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", file, partial).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", filepath.Base(file), err, strings.TrimSpace(string(out)))
		}
		s.Packages = append(s.Packages, filepath.Base(file))
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, stampName), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("unpack packages: %w", err)
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("unpack packages: %w", err)
	}
	return nil
}
