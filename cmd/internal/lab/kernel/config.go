package kernel

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/lab/unpack"
)

// Config is with what options a kernel was built.
type Config struct {
	// Origin is where that was found: a file.
	Origin string

	values map[string]string // without CONFIG_
}

// BuiltIn reports whether the option, named without CONFIG_, is built into the kernel.
func (c *Config) BuiltIn(option string) bool { return c.values[option] == "y" }

// Module reports whether the option is a kernel module.
func (c *Config) Module(option string) bool { return c.values[option] == "m" }

// Value is what follows the option's "=", as it stands there; empty if the configuration does not name it.
func (c *Config) Value(option string) string { return c.values[option] }

// Has reports whether the option is either.
func (c *Config) Has(option string) bool { return c.BuiltIn(option) || c.Module(option) }

// Config looks for the kernel's configuration: beside the image, where distributions have it, in the kernel's module directory (empty:
// there is none), or in the image itself (CONFIG_IKCONFIG). It is nil if there is none.
func (i *Image) Config(moduleDir string) (*Config, error) {
	places := []string{
		filepath.Join(filepath.Dir(i.Path), "config-"+i.Release),
		filepath.Join("/boot", "config-"+i.Release),
	}
	if moduleDir != "" {
		places = append(places, filepath.Join(moduleDir, "config"))
	}
	for _, place := range places {
		if c, err := ReadConfig(place); !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return i.embedded()
}

// ReadConfig reads a file of lines CONFIG_NAME=VALUE.
func ReadConfig(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readConfig(file, path)
}

// What is around the configuration within a kernel: kernel/configs.c.
var (
	embeddedStart = []byte("IKCFG_ST")
	embeddedEnd   = []byte("IKCFG_ED")
)

// largestKernel bounds what is unpacked of an image, in bytes.
const largestKernel = 256 << 20

// embedded takes the configuration from the image, nil if there is none, or if the image is compressed in an unknown way.
func (i *Image) embedded() (*Config, error) {
	format := unpack.Format(i.payload)
	if format == "" {
		return nil, nil
	}
	// What follows the end of the compressed kernel, its size among it, is no concern of ours, and neither is an image that is not whole.
	kernel, _ := unpack.All(bytes.NewReader(i.payload), format, largestKernel)
	_, rest, found := bytes.Cut(kernel, embeddedStart)
	if !found {
		return nil, nil
	}
	packed, _, found := bytes.Cut(rest, embeddedEnd)
	if !found {
		return nil, nil
	}
	text, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%s: the configuration in it: %w", i.Path, err)
	}
	return readConfig(text, i.Path)
}

func readConfig(r io.Reader, origin string) (*Config, error) {
	c := &Config{Origin: origin, values: make(map[string]string)}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, found := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if option, ours := strings.CutPrefix(name, "CONFIG_"); found && ours {
			c.values[option] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the kernel's configuration in %s: %w", origin, err)
	}
	if len(c.values) == 0 {
		return nil, fmt.Errorf("%s is not a kernel's configuration: it has no line CONFIG_NAME=VALUE", origin)
	}
	return c, nil
}
