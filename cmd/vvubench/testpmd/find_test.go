package testpmd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindNamed(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(ctx, Options{Path: filepath.Join(dir, "nothing")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, path := range []string{dir, plain} {
		if _, err := Find(ctx, Options{Path: path}); err == nil || !strings.Contains(err.Error(), "cannot be executed") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFindInPath(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, programName)
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	p, err := Find(context.Background(), Options{})
	if err != nil || len(p.Command) != 1 || p.Command[0] != program {
		t.Errorf("found %+v, %v", p, err)
	}
}

// TestFindNowhere has to say what to do on a machine where nothing helps.
func TestFindNowhere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Find(context.Background(), Options{BuildDir: t.TempDir(), Progress: func(string) {}})
	if err == nil || !strings.Contains(err.Error(), "install DPDK (Debian: apt-get install dpdk-dev") {
		t.Errorf("error %v", err)
	}
}

// TestUnpacked checks the command line by which an unpacked program is run.
func TestUnpacked(t *testing.T) {
	got := strings.Join(Bookworm.unpacked("/x").Command, " ")
	const want = "/x/lib64/ld-linux-x86-64.so.2 --library-path /x/usr/lib/x86_64-linux-gnu:/x/lib/x86_64-linux-gnu:/x/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0" +
		" --preload librte_mempool_ring.so.23:librte_net_vhost.so.23:librte_net_virtio.so.23:librte_net_af_packet.so.23:librte_net_af_xdp.so.23:librte_net_tap.so.23 /x/usr/bin/dpdk-testpmd"
	if got != want {
		t.Errorf("command\n%s, want\n%s", got, want)
	}
}
