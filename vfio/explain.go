package vfio

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// The IOMMU keeps memory from devices, but not interrupts.
const problemInterrupts = "the IOMMU does not remap interrupts, so the device could forge them"

// remedyInterrupts is about the kernel module that refuses.
func remedyInterrupts(module string) string {
	return "turn remapping on (QEMU: -device intel-iommu,intremap=on -machine kernel-irqchip=split; virtio-iommu has none), " +
		"or accept the risk: --allow-unsafe-interrupts as /init, echo 1 > /sys/module/" + module + "/parameters/allow_unsafe_interrupts elsewhere"
}

func isENOMEM(err error) bool { return errors.Is(err, unix.ENOMEM) }

// groupError explains why a viable group does not join.
func (g *groups) groupError(info pci.Info, err error) error {
	if known := (*pci.DeviceError)(nil); errors.As(err, &known) {
		return err
	}
	e := &pci.DeviceError{
		Device: info.Address.String(), Problem: fmt.Sprintf("its IOMMU group %d cannot be used", info.IOMMUGroup), Err: err,
		Remedy: "see dmesg for the reason",
	}
	switch {
	case errors.Is(err, unix.EPERM) && g.model == uapi.NoIOMMU:
		e.Problem, e.Remedy = problemRawIO, remedyRawIO
	case errors.Is(err, unix.EPERM):
		e.Problem, e.Remedy = problemInterrupts, remedyInterrupts("vfio_iommu_type1")
	case errors.Is(err, unix.EBUSY):
		e.Remedy = "stop the other program or driver that uses the group"
	}
	return e
}

// To use a device without an IOMMU is to be allowed everything.
const (
	problemRawIO = "a device that no IOMMU confines takes CAP_SYS_RAWIO"
	remedyRawIO  = "run as root"
)

// nodeError explains why the file of a group does not open.
func (g *groups) nodeError(path string, err error) error {
	if g.model == uapi.NoIOMMU && errors.Is(err, fs.ErrPermission) {
		return &pci.DeviceError{Device: path, Problem: problemRawIO, Err: err, Remedy: remedyRawIO}
	}
	return nodeError(path, err)
}

// notViable names the other devices of a group: those bound to a driver that is
// not vfio-pci are in the way. (Bridges are, too, only when bound to one other
// than pcieport, which the kernel tolerates.)
func (g *groups) notViable(info pci.Info) error {
	e := &pci.DeviceError{
		Device:  info.Address.String(),
		Problem: fmt.Sprintf("its IOMMU group %d is not viable, other drivers use devices of it", info.IOMMUGroup),
		Remedy:  "bind all devices of the group to vfio-pci",
	}
	members, err := g.sysfs.Group(info.IOMMUGroup)
	if err != nil {
		e.Err = err
		return e
	}
	var others []string
	for _, m := range members {
		if m.Address == info.Address {
			continue
		}
		driver := m.Driver
		if driver == "" {
			driver = "no driver"
		}
		others = append(others, fmt.Sprintf("%v (%s)", m.Address, driver))
	}
	if len(others) > 0 {
		e.Remedy += ", or leave them without driver: " + strings.Join(others, ", ")
	}
	return e
}

// nodeError explains why a file in /dev/vfio does not open.
func nodeError(path string, err error) error {
	e := &pci.DeviceError{Device: path, Problem: "cannot be opened", Err: err, Remedy: "see dmesg for the reason"}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		e.Remedy = "modprobe vfio-pci"
	case errors.Is(err, fs.ErrPermission):
		e.Remedy = "run as root, or give your user access to the file"
	case errors.Is(err, unix.EBUSY):
		e.Remedy = "stop the other program that uses the device"
	}
	return e
}
