package vhostuser_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// A socket is for its owner alone, whatever the umask; one that no one has open is replaced, one that is open is not, nor is a file
// of another kind.
func TestListen(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	l, err := vhostuser.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := vhostuser.Listen(path); !errors.Is(err, vhostuser.ErrInUse) {
		t.Errorf("a socket that is open: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		path: "exists and is not a socket", filepath.Join(path, "s"): "not a directory", filepath.Join(path+"x", "s"): "cannot listen", path + strings.Repeat("x", 200): "longer than the 107 characters",
		"@abstract": "open to everyone",
	} {
		if _, err := vhostuser.Listen(path); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), path) {
			t.Errorf("%s, which the caller names: %v does not say %q", path, err, says)
		}
	}
	if _, err := vhostuser.Dial(path); err == nil || strings.Contains(err.Error(), path) || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect to what is no socket: %v", err)
	}
}
