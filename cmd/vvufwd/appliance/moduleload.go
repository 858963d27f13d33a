package appliance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/modules"
)

// LoadModules loads kernel modules and what they depend on from /lib/modules, in the order of names,
// with parameters from the kernel command line. One that is loaded or built in already is
// fine. The error says by name what could not be loaded; the others are loaded nevertheless.
func LoadModules(names []string, log *zap.Logger) error {
	return thisMachine(log).loadModules(names...)
}

// loadModules loads kernel modules and what they depend on, in the order of names.
// One that is loaded or built in already is fine. The errors say by name what could
// not be loaded; the others are loaded nevertheless.
func (m *machine) loadModules(names ...string) error {
	var missing []string
	for _, name := range names {
		if !m.hasModule(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	release, err := m.release()
	if err != nil {
		return fmt.Errorf("ask for the kernel's release: %w", err)
	}
	index, err := modules.ReadIndex(m.path("lib/modules", release))
	if err != nil {
		return fmt.Errorf("find kernel modules: %w", err)
	}
	// Without /proc/cmdline there are no parameters.
	cmdline, _ := os.ReadFile(m.path("proc/cmdline"))
	params := moduleParams(string(cmdline))
	var failed error
	for _, name := range missing {
		failed = oneLine(failed, m.loadModule(index, params, name))
	}
	return failed
}

// oneLine joins two errors, each of which may be nil; unlike those of errors.Join
// their texts stay in one line.
func oneLine(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}

// hasModule reports whether a module is loaded. Something that is built in shows up
// here too if it has parameters.
func (m *machine) hasModule(name string) bool {
	_, err := os.Stat(m.path("sys/module", modules.Name(name)))
	return err == nil
}

func (m *machine) loadModule(index *modules.Index, params map[string]string, name string) error {
	order, err := index.LoadOrder(name)
	if err != nil {
		return err
	}
	for _, path := range order {
		if m.hasModule(path) {
			continue
		}
		if err := m.loadFile(index, path, params[modules.Name(path)]); err != nil {
			return fmt.Errorf("load kernel module %s for %s: %w", modules.Name(path), modules.Name(name), err)
		}
		m.log.Debug("loaded a kernel module", zap.String("module", modules.Name(path)))
	}
	return nil
}

func (m *machine) loadFile(index *modules.Index, path, params string) error {
	file, err := index.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	flags := 0
	if compressed(path) {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = m.finitModule(int(file.Fd()), params, flags)
	switch {
	case err == nil, errors.Is(err, unix.EEXIST): // loaded by someone else in the meantime
		return nil
	case flags != 0 && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)):
		return fmt.Errorf("%w: this kernel cannot decompress %s (CONFIG_MODULE_DECOMPRESS): put the module into the initramfs uncompressed", err, filepath.Base(path))
	case errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: %s is not made for this kernel: take kernel and modules from the same build", err, filepath.Base(path))
	case errors.Is(err, unix.EINVAL) && params != "":
		return fmt.Errorf("%w: look at the parameters %q on the kernel command line", err, params)
	}
	return err
}

// compressed reports whether a module's file is, by its name.
func compressed(path string) bool {
	switch filepath.Ext(path) {
	case ".gz", ".xz", ".zst":
		return true
	}
	return false
}
