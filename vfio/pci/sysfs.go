package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Sysfs reads and changes PCI functions through the kernel's sysfs. The zero
// value uses "/sys". Safe for concurrent use.
type Sysfs struct {
	Root string // where sysfs is mounted; "" means "/sys"
}

// Info is what sysfs tells about a PCI function.
type Info struct {
	Address              Address
	Vendor, Device       uint16
	SubVendor, SubDevice uint16
	Class                uint32 // class, subclass and interface: 24 bits
	Driver               string // "" when not bound

	HasIOMMUGroup bool
	IOMMUGroup    int // meaningful only with HasIOMMUGroup
	// NoIOMMU says that the group is a stand-in: VFIO made it in its unsafe
	// no-IOMMU mode, and nothing translates or checks what the device does.
	NoIOMMU bool
	// VFIODevice is the name of its character device of VFIO, "vfio0" for one; "" while it has
	// none. Kernels before 6.6, and those without VFIO_DEVICE_CDEV, have no file of that name.
	VFIODevice string
	// Interfaces are the names of the network interfaces that its kernel driver has made of it, in
	// the network namespace that sysfs was mounted in.
	Interfaces []string
}

// noIOMMUGroupName is what VFIO calls the groups it makes in no-IOMMU mode.
const noIOMMUGroupName = "vfio-noiommu"

// BoundToVFIO reports whether the driver is vfio-pci or one of the kernel's
// variants of it, such as mlx5_vfio_pci.
func (i Info) BoundToVFIO() bool {
	name := strings.ReplaceAll(i.Driver, "_", "-")
	return name == vfioDriver || strings.HasSuffix(name, "-"+vfioDriver)
}

const vfioDriver = "vfio-pci"

func (s Sysfs) path(parts ...string) string {
	root := s.Root
	if root == "" {
		root = "/sys"
	}
	return filepath.Join(append([]string{root}, parts...)...)
}

func (s Sysfs) devicePath(a Address, parts ...string) string {
	return s.path(append([]string{"bus/pci/devices", a.String()}, parts...)...)
}

// Device tells about the function at addr. When there is none the error is a
// *DeviceError that wraps ErrNoDevice and lists what there is.
func (s Sysfs) Device(addr Address) (Info, error) {
	_, err := os.Stat(s.devicePath(addr))
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, s.noDevice(addr)
	}
	if err != nil {
		return Info{}, fmt.Errorf("look up PCI device %v: %w", addr, err)
	}
	info := Info{Address: addr, Driver: linkName(s.devicePath(addr, "driver"))}
	for _, attr := range []struct {
		name string
		bits int
		set  func(uint64)
	}{
		{"vendor", 16, func(v uint64) { info.Vendor = uint16(v) }},
		{"device", 16, func(v uint64) { info.Device = uint16(v) }},
		{"subsystem_vendor", 16, func(v uint64) { info.SubVendor = uint16(v) }},
		{"subsystem_device", 16, func(v uint64) { info.SubDevice = uint16(v) }},
		{"class", 24, func(v uint64) { info.Class = uint32(v) }},
	} {
		text, err := readAttribute(s.devicePath(addr, attr.name))
		if err != nil {
			return Info{}, fmt.Errorf("look up PCI device %v: %w", addr, err)
		}
		v, err := strconv.ParseUint(text, 0, attr.bits)
		if err != nil {
			return Info{}, fmt.Errorf("look up PCI device %v: attribute %s: %w", addr, attr.name, err)
		}
		attr.set(v)
	}
	if group := linkName(s.devicePath(addr, "iommu_group")); group != "" {
		if info.IOMMUGroup, err = strconv.Atoi(group); err != nil {
			return Info{}, fmt.Errorf("look up PCI device %v: IOMMU group %q is not a number", addr, group)
		}
		info.HasIOMMUGroup = true
		name, _ := readAttribute(s.path("kernel/iommu_groups", group, "name")) // absent on most groups
		info.NoIOMMU = name == noIOMMUGroupName
	}
	if entries, err := os.ReadDir(s.devicePath(addr, "vfio-dev")); err == nil && len(entries) == 1 {
		info.VFIODevice = entries[0].Name()
	}
	info.Interfaces = s.interfaces(addr)
	return info, nil
}

// interfaces are the network interfaces of a function. Those of a virtio function belong to the
// virtio device below it.
func (s Sysfs) interfaces(addr Address) (names []string) {
	for _, pattern := range []string{"net/*", "virtio*/net/*"} {
		found, _ := filepath.Glob(s.devicePath(addr, pattern)) // the pattern is good
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

// BARAddress is the physical address of BAR i of the function at addr.
func (s Sysfs) BARAddress(addr Address, i int) (uint64, error) {
	path := s.devicePath(addr, "resource")
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("look up BAR %d of PCI device %v: %w", i, addr, err)
	}
	// A line for each: start, end and flags.
	lines := strings.Split(string(text), "\n")
	if i < 0 || i >= len(lines) {
		return 0, fmt.Errorf("%s tells of %d resources, none of them BAR %d", path, len(lines), i)
	}
	fields := strings.Fields(lines[i])
	if len(fields) == 3 {
		start, err := strconv.ParseUint(fields[0], 0, 64)
		if err == nil && start != 0 {
			return start, nil
		}
	}
	return 0, fmt.Errorf("%s does not say where BAR %d is: %q", path, i, lines[i])
}

// List tells about all PCI functions, in the order of their addresses.
func (s Sysfs) List() ([]Info, error) { return s.list("bus/pci/devices") }

// Group tells about the PCI functions of an IOMMU group, in the order of their
// addresses.
func (s Sysfs) Group(group int) ([]Info, error) {
	return s.list(filepath.Join("kernel/iommu_groups", strconv.Itoa(group), "devices"))
}

func (s Sysfs) list(dir string) ([]Info, error) {
	names, err := s.addresses(dir)
	if err != nil {
		return nil, fmt.Errorf("list PCI devices: %w", err)
	}
	var list []Info
	for _, addr := range names {
		info, err := s.Device(addr)
		if errors.Is(err, ErrNoDevice) {
			continue // unplugged meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

// addresses lists the functions in a directory; what is no PCI address is left
// out, because an IOMMU group may hold devices of other buses.
func (s Sysfs) addresses(dir string) ([]Address, error) {
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return nil, err
	}
	var list []Address
	for _, e := range entries {
		if addr, err := ParseAddress(e.Name()); err == nil {
			list = append(list, addr)
		}
	}
	slices.SortFunc(list, func(a, b Address) int { return strings.Compare(a.String(), b.String()) })
	return list, nil
}

// maxListed bounds how many addresses an error message names.
const maxListed = 16

func (s Sysfs) noDevice(addr Address) error {
	e := &DeviceError{Device: addr.String(), Problem: ErrNoDevice.Error(), Err: ErrNoDevice}
	present, err := s.addresses("bus/pci/devices")
	switch {
	case err != nil:
		e.Remedy = fmt.Sprintf("mount sysfs, its list of PCI devices cannot be read: %v", err)
	case len(present) == 0:
		e.Remedy = "there is no PCI device at all in this machine"
	default:
		var names []string
		for _, p := range present[:min(len(present), maxListed)] {
			names = append(names, p.String())
		}
		if more := len(present) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		e.Remedy = "choose one of " + strings.Join(names, ", ")
	}
	return e
}

// linkName is the last element of what a symbolic link points to, "" without link.
func linkName(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

func readAttribute(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// Identity tells a function from another one that was, or will be, at the same address: a
// function that is plugged in, or found by a rescan, is another than the one before it. It
// wraps fs.ErrNotExist when there is none.
func (s Sysfs) Identity(addr Address) (uint64, error) { return inode(os.Stat(s.devicePath(addr))) }

// BindingIdentity tells being bound to a driver from having been bound before, to another or to the same one. It wraps
// fs.ErrNotExist when the function has no driver.
func (s Sysfs) BindingIdentity(addr Address) (uint64, error) {
	return inode(os.Lstat(filepath.Join(s.devicePath(addr), "driver")))
}

// inode is the number of a file, which sysfs does not give to the next one.
func inode(info os.FileInfo, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%s has no inode", info.Name())
	}
	return st.Ino, nil
}
