// Package nixtest has tests of nix/, and what they need: a hash as Nix computes it. Those that run Nix are in e2e.
package nixtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Hash is the SHA-256 of a file or a directory in the form in which Nix expressions have it: "sha256-" and 44 characters. It is that of
// its archive in Nix' own format, in which there are no owners, no times, and of permissions only whether a file can be executed.
func Hash(path string) (string, error) {
	sum := sha256.New()
	a := archive{sum}
	a.words("nix-archive-1")
	if err := a.node(path); err != nil {
		return "", err
	}
	return "sha256-" + base64.StdEncoding.EncodeToString(sum.Sum(nil)), nil
}

// archive writes such an archive to something that never fails.
type archive struct{ to io.Writer }

// words writes strings: each begins with its length, and fills multiples of eight bytes.
func (a archive) words(all ...string) {
	for _, word := range all {
		a.length(int64(len(word)))
		io.WriteString(a.to, word)
		a.fill(int64(len(word)))
	}
}

func (a archive) length(n int64) { binary.Write(a.to, binary.LittleEndian, n) }

func (a archive) fill(n int64) { a.to.Write(make([]byte, (8-n%8)%8)) }

// node writes a file, a directory with all that is in it, or a symbolic link.
func (a archive) node(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	a.words("(", "type")
	switch info.Mode().Type() {
	case os.ModeDir:
		a.words("directory")
		entries, err := os.ReadDir(path) // sorted by name, as Nix has them
		if err != nil {
			return err
		}
		for _, e := range entries {
			a.words("entry", "(", "name", e.Name(), "node")
			if err := a.node(filepath.Join(path, e.Name())); err != nil {
				return err
			}
			a.words(")")
		}
	case os.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		a.words("symlink", "target", target)
	case 0:
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		a.words("regular")
		if info.Mode()&0o100 != 0 {
			a.words("executable", "")
		}
		a.words("contents", string(body))
	default:
		return fmt.Errorf("%s is no file, directory or symbolic link", path)
	}
	a.words(")")
	return nil
}
