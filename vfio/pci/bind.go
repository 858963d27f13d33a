package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// bindTimeout is how long a driver may take to bind. Probing is done before the
// write to sysfs returns unless the driver asked for it to be asynchronous.
const bindTimeout = time.Second

// noOverride is how sysfs shows that driver_override is not set.
const noOverride = "(null)"

// Binding is what Bind has changed about a function, for Undo, which may be another
// process's. The zero value is that nothing was.
type Binding struct {
	Function Address
	Changed  bool
	Driver   string // that it had before, "" without
	Override string // its driver_override before, "" without
}

// Undo gives a function back to the driver that it had before Bind.
func (s Sysfs) Undo(b Binding) error {
	if !b.Changed {
		return nil
	}
	if err := s.rebind(b.Function, b.Override, b.Driver); err != nil {
		return fmt.Errorf("return %v to its driver: %w", b.Function, err)
	}
	return nil
}

// CheckUndo finds out whether this process may write what Undo writes. It writes nothing.
func (s Sysfs) CheckUndo(b Binding) error {
	if !b.Changed {
		return nil
	}
	for _, path := range []string{
		s.devicePath(b.Function, "driver_override"), s.devicePath(b.Function, "driver/unbind"), s.path("bus/pci/drivers_probe"),
	} {
		// It is opened and closed. One that was unbound or unplugged meanwhile has none.
		if err := s.write(path, ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("return %v to its driver: %w", b.Function, err)
		}
	}
	return nil
}

// Bind binds the function at addr to a driver ("vfio-pci"), whatever the
// driver's own id table says: it sets driver_override, unbinds the present driver
// and asks for a new probe. Undo undoes that: the old override, the old driver.
// A function that is bound to the driver already is left alone.
//
// A device in use, a network interface that is up for example, is taken away from
// its user without asking.
//
// Errors about the device are *DeviceError. When Bind fails it has put things back.
func (s Sysfs) Bind(addr Address, driver string) (Binding, error) {
	info, err := s.Device(addr)
	if err != nil {
		return Binding{}, err
	}
	if info.Driver == driver {
		return Binding{Function: addr}, nil
	}
	if _, err := os.Stat(s.path("bus/pci/drivers", driver)); err != nil {
		return Binding{}, &DeviceError{
			Device: addr.String(), Problem: fmt.Sprintf("cannot be bound, the kernel has no driver %s", driver),
			Remedy: "modprobe " + driver, Err: err,
		}
	}
	override, err := readAttribute(s.devicePath(addr, "driver_override"))
	if err != nil {
		return Binding{}, fmt.Errorf("bind %v to %s: %w", addr, driver, err)
	}
	if override == noOverride {
		override = ""
	}
	before := Binding{Function: addr, Changed: true, Driver: info.Driver, Override: override}
	if err := s.rebind(addr, driver, driver); err != nil {
		failure := &DeviceError{
			Device: addr.String(), Problem: fmt.Sprintf("does not bind to %s", driver), Err: err,
			Remedy: "see dmesg for the reason",
		}
		if !info.HasIOMMUGroup && driver == vfioDriver {
			failure.Problem += ", it is in no IOMMU group"
			failure.Remedy = RemedyNoIOMMU + ", or accept that nothing confines it: --noiommu"
		}
		if err := s.Undo(before); err != nil {
			return Binding{}, fmt.Errorf("%w; and then: %w", failure, err)
		}
		return Binding{}, failure
	}
	return before, nil
}

// BindingDirectories are those within which Bind and Undo write, for these functions and for those that
// come in place of them: drivers, and as much of the devices as goes on being there when
// functions come and go. That is the host bridge above them, or, where it is below a device of the platform, that
// one; unless it has another parent and may go with them.
func (s Sysfs) BindingDirectories(functions []Address) []string {
	dirs := []string{s.path("bus/pci")}
	for _, f := range functions {
		dirs = append(dirs, s.hostBridge(f))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// bridgeName is that of a host bridge's directory: its domain and bus. Xen's functions without one are in pci-0.
var bridgeName = regexp.MustCompile("^pci[0-9a-f]{4,}:[0-9a-f]{2}$")

// virtualBus are devices of the platform below which host bridges come and go with their functions: those of Hyper-V.
var virtualBus = regexp.MustCompile("(?i)vmbus|^ACPI0004|^MSFT1000")

// hostBridge is the directory of the host bridge of a function, or of the device of the platform that has that, or that
// of all devices if it is elsewhere, or the function is not there.
func (s Sysfs) hostBridge(function Address) string {
	all := s.path("devices")
	root, err := filepath.EvalSymlinks(all)
	if err != nil {
		return all
	}
	dir, err := filepath.EvalSymlinks(s.devicePath(function))
	if err != nil {
		return all
	}
	inside, ok := strings.CutPrefix(dir, root+"/")
	path := strings.Split(inside, "/")
	bridge := slices.IndexFunc(path[:len(path)-1], bridgeName.MatchString)
	switch {
	case !ok || bridge < 0:
		return all
	case bridge == 0:
		return filepath.Join(all, path[0])
	case path[0] == "platform" && bridge > 1 && !slices.ContainsFunc(path[:bridge], virtualBus.MatchString):
		return filepath.Join(append([]string{all}, path[:bridge]...)...)
	}
	return all
}

// rebind sets the override, unbinds and probes, and waits until the function is
// bound to want ("" : to anything or nothing).
func (s Sysfs) rebind(addr Address, override, want string) error {
	// A newline alone clears the override.
	if err := s.write(s.devicePath(addr, "driver_override"), override+"\n"); err != nil {
		return err
	}
	if linkName(s.devicePath(addr, "driver")) != "" {
		// The write returns when the driver has released it.
		if err := s.write(s.devicePath(addr, "driver/unbind"), addr.String()); err != nil {
			return err
		}
	}
	if err := s.write(s.path("bus/pci/drivers_probe"), addr.String()); err != nil {
		return err
	}
	deadline := time.Now().Add(bindTimeout)
	for {
		got := linkName(s.devicePath(addr, "driver"))
		if got == want || want == "" {
			return nil
		}
		if !time.Now().Before(deadline) {
			if got == "" {
				return fmt.Errorf("driver %s did not take it within %v", want, bindTimeout)
			}
			return fmt.Errorf("driver %s took it instead of %s", got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// write stores into an attribute in one write call, none if there is nothing to store, and never creates a file.
func (s Sysfs) write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	if text != "" {
		_, err = f.WriteString(text)
	}
	return errors.Join(err, f.Close())
}
