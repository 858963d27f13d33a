package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"vvufwd/cmd/internal/lab/kernel/kerneltest"
)

const config = "# a comment\nCONFIG_VFIO_PCI=m\nCONFIG_HUGETLBFS=y\n# CONFIG_TUN is not set\nCONFIG_NAME=\"x\"\n"

func write(t *testing.T, dir, name string, body []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkConfig(t *testing.T, c *Config, err error, origin string) {
	t.Helper()
	if err != nil || c == nil {
		t.Fatalf("config %v, %v", c, err)
	}
	if c.Origin != origin || !c.Module("VFIO_PCI") || c.BuiltIn("VFIO_PCI") || !c.BuiltIn("HUGETLBFS") || c.Has("TUN") || c.Has("NAME") {
		t.Errorf("read %+v from %s, want it from %s", c.values, c.Origin, origin)
	}
}

func TestReleaseAndConfigBeside(t *testing.T) {
	dir := t.TempDir()
	i, err := Open(write(t, dir, "vmlinuz", kerneltest.Image("6.1.0-test", nil)))
	if err != nil {
		t.Fatal(err)
	}
	if i.Release != "6.1.0-test" {
		t.Errorf("release %q", i.Release)
	}
	if c, err := i.Config(""); c != nil || err != nil {
		t.Errorf("a configuration from nowhere: %v, %v", c, err)
	}
	modules := t.TempDir()
	place := write(t, modules, "config", []byte(config))
	c, err := i.Config(modules)
	checkConfig(t, c, err, place)
	place = write(t, dir, "config-6.1.0-test", []byte(config))
	c, err = i.Config(modules)
	checkConfig(t, c, err, place)
	write(t, dir, "config-6.1.0-test", []byte("something else"))
	if _, err := i.Config(modules); err == nil || !strings.Contains(err.Error(), place) {
		t.Errorf("what is no configuration: %v", err)
	}
}

func TestEmbeddedConfig(t *testing.T) {
	packed := func(text []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(text)
		w.Close()
		return b.Bytes()
	}
	vmlinux := bytes.Join([][]byte{bytes.Repeat([]byte("code"), 10000), []byte("IKCFG_ST"), packed([]byte(config)), []byte("IKCFG_ED"), []byte("data")}, nil)
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	size := []byte{1, 2, 3, 4} // what the kernel's build puts after the compressed kernel
	for name, payload := range map[string][]byte{"gzip": append(packed(vmlinux), size...), "zstd": append(w.EncodeAll(vmlinux, nil), size...)} {
		path := write(t, t.TempDir(), name, kerneltest.Image("6.1.0-test", payload))
		i, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := i.Config("")
		checkConfig(t, c, err, path)
	}
}

func TestNoGoodImages(t *testing.T) {
	good := kerneltest.Image("6.1.0-test", []byte("payload"))
	for name, edit := range map[string]func(b []byte) []byte{
		"empty":               func([]byte) []byte { return nil },
		"short":               func(b []byte) []byte { return b[:0x210] },
		"no magic":            func(b []byte) []byte { b[magicAt] = 'x'; return b },
		"no version":          func(b []byte) []byte { b[versionStringAt], b[versionStringAt+1] = 0, 0; return b },
		"version outside":     func(b []byte) []byte { b[versionStringAt+1] = 0xff; return b },
		"a path as a release": func(b []byte) []byte { return bytes.Replace(b, []byte("6.1.0-test"), []byte("../../etc/"), 1) },
	} {
		if i, err := Open(write(t, t.TempDir(), "vmlinuz", edit(bytes.Clone(good)))); err == nil || !strings.Contains(err.Error(), "vmlinuz") {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	binary.LittleEndian.PutUint32(good[payloadLengthAt:], 0xffffffff)
	i, err := Open(write(t, t.TempDir(), "vmlinuz", good))
	if err != nil || i.payload != nil {
		t.Errorf("a payload that is longer than the file: %v", err)
	}
}
