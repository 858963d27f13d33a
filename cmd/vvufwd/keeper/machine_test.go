package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// machine is a sysfs with one function, and the opener of its files.
type machine struct {
	t      *testing.T
	root   string
	opened int
	fail   error
	of     pci.Address // the function, if it is not the one
}

func (m *machine) dir() string {
	name := m.of
	if name == (pci.Address{}) {
		name = function
	}
	return filepath.Join(m.root, "bus/pci/devices", name.String())
}

func (m *machine) plug(driver string) {
	m.t.Helper()
	if err := os.MkdirAll(m.dir(), 0o755); err != nil {
		m.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"vendor": "0x1af4", "device": "0x1041", "subsystem_vendor": "0x1af4", "subsystem_device": "0x1100", "class": "0x020000",
	} {
		if err := os.WriteFile(filepath.Join(m.dir(), name), []byte(text), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	m.driver(driver)
}

func (m *machine) driver(name string) {
	m.t.Helper()
	link := filepath.Join(m.dir(), "driver")
	if name == "" {
		os.Remove(link)
		return
	}
	// As in sysfs the next link has not the number of the one before it.
	if err := errors.Join(os.Symlink(filepath.Join(m.root, "bus/pci/drivers", name), link+".new"), os.Rename(link+".new", link)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) unplug() { os.RemoveAll(m.dir()) }

func (m *machine) OpenFiles(pci.Address) (vfio.Files, error) {
	if m.fail != nil {
		return vfio.Files{}, m.fail
	}
	m.opened++
	return vfio.Files{Group: m.opened}, nil
}

// canBind makes the files that binding writes to.
func (m *machine) canBind() {
	m.t.Helper()
	drivers := filepath.Join(m.root, "bus/pci/drivers/vfio-pci")
	for _, path := range []string{filepath.Join(m.dir(), "driver_override"), filepath.Join(m.root, "bus/pci/drivers_probe"), filepath.Join(drivers, "unbind")} {
		if err := errors.Join(os.MkdirAll(drivers, 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// written is what was written to an attribute of the function.
func (m *machine) written(attribute string) string {
	text, err := os.ReadFile(filepath.Join(m.dir(), attribute))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}
