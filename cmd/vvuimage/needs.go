package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/kernel"
	"vvufwd/cmd/internal/lab/machine"
)

// need is something that a kernel must have.
type need struct {
	options []string // any of these will do, without CONFIG_
	why     string
	module  string // what the first option is called as a module; empty: it comes with others, or is none
	wish    bool   // vvufwd does without
}

// programsInGo is why there are needs that only a kernel of very few options lacks.
const programsInGo = "for vvufwd, as any program in Go"

// needs is what these options need of the kernel.
func (o *options) needs() []need {
	all := []need{
		{options: []string{"BLK_DEV_INITRD"}, why: "to have an initramfs"},
		{options: []string{"RD_GZIP"}, why: "to unpack the initramfs"},
		{options: []string{"BINFMT_ELF"}, why: "to start programs"},
		{options: []string{"DEVTMPFS"}, why: "for /dev"},
		{options: []string{"PROC_FS"}, why: "for /proc"},
		{options: []string{"SYSFS"}, why: "for /sys"},
	}
	console := need{options: []string{"SERIAL_8250_CONSOLE"}, why: "for console=ttyS0", wish: true}
	if o.init != "" {
		if script, err := isScript(o.init); err == nil && script {
			all = append(all, need{options: []string{"BINFMT_SCRIPT"}, why: "to start --init, a script"})
		}
		return append(all, console)
	}
	all = append(all,
		need{options: []string{"FUTEX"}, why: programsInGo},
		need{options: []string{"EPOLL"}, why: programsInGo},
		need{options: []string{"EVENTFD"}, why: programsInGo},
		need{options: []string{"PCI_MSI"}, why: "for interrupts of PCI functions"},
	)
	functions := o.words.onPCI()
	if functions {
		all = append(all, need{options: []string{"VFIO_PCI"}, why: "to use PCI functions"})
	}
	huge := functions && (o.iommu == machine.None || o.words.has("require-hugepages"))
	switch o.iommu {
	case machine.None:
		if functions {
			all = append(all, need{options: []string{"VFIO_NOIOMMU"}, why: "for --noiommu"})
		}
	case machine.Virtio:
		all = append(all, need{options: []string{"VIRTIO_IOMMU"}, why: "for --iommu virtio"})
	default:
		all = append(all, need{options: []string{"INTEL_IOMMU"}, why: "for --iommu intel"})
		if !o.words.has("allow-unsafe-interrupts") {
			all = append(all, need{options: []string{"IRQ_REMAP"}, why: "for --iommu intel without --allow-unsafe-interrupts"})
		}
	}
	if functions && o.iommu != machine.None {
		all = append(all, need{options: []string{"VFIO_IOMMU_TYPE1", "VFIO_DEVICE_CDEV"}, why: "to reach the IOMMU"})
	}
	all = append(all,
		need{options: []string{"HUGETLBFS"}, why: "for huge pages", wish: !huge},
		need{options: []string{"DEVMEM"}, why: "to have the app VM's memory cached on all hosts", wish: true},
		need{options: []string{"SECCOMP_FILTER"}, why: "to confine vvufwd", wish: true},
		need{options: []string{"SECURITY_LANDLOCK"}, why: "to confine vvufwd", wish: true},
		console,
	)
	return slices.Concat(all, o.interfaceNeeds(), o.channelNeeds())
}

// channelNeeds is what captures and vvuctl need by which to leave the machine.
func (o *options) channelNeeds() []need {
	serial, vsock := o.words.channels()
	var all []need
	if len(serial) > 0 {
		all = append(all, need{options: []string{"VIRTIO_CONSOLE"}, module: "virtio_console", why: "for virtio-serial:NAME"})
	}
	if vsock {
		all = append(all, need{options: []string{"VIRTIO_VSOCKETS"}, module: "vmw_vsock_virtio_transport", why: "for vsock:PORT"})
	}
	if len(all) > 0 {
		all = append(all, need{options: []string{"VIRTIO_PCI"}, module: "virtio_pci", why: "for virtio-serial:NAME and vsock:PORT"})
	}
	return all
}

// interfaceNeeds is what ports over the kernel's interfaces need.
func (o *options) interfaceNeeds() []need {
	var all []need
	kinds := o.words.interfaces()
	for _, n := range []struct {
		kind string
		need need
	}{
		{"nic", need{options: []string{"PACKET"}, module: "af_packet", why: "for --nic INTERFACE"}}, // AF_XDP is tried first, and takes it too
		{"packet", need{options: []string{"PACKET"}, module: "af_packet", why: "for --port packet:INTERFACE"}},
		{"xdp", need{options: []string{"XDP_SOCKETS"}, why: "for --port xdp:INTERFACE"}},
		{"xdp", need{options: []string{"BPF_SYSCALL"}, why: "for --port xdp:INTERFACE"}},
		{"xdp", need{options: []string{"PACKET"}, module: "af_packet", why: "to make the interface of --port xdp:INTERFACE promiscuous"}},
		{"tap", need{options: []string{"TUN"}, module: "tun", why: "for --port tap:INTERFACE"}},
		{"macvtap", need{options: []string{"MACVTAP"}, module: "macvtap", why: "for --port macvtap:INTERFACE"}},
	} {
		if slices.Contains(kinds, n.kind) {
			all = append(all, n.need)
		}
	}
	return all
}

// check compares needs with a kernel's configuration. It returns the kernel modules that are needed for them besides VFIO's, says
// what is only wished for and missing, and fails with all that is missing.
func check(needs []need, i *kernel.Image, c *kernel.Config, progress io.Writer) (modules []string, err error) {
	var missing, wished []string
	for _, n := range needs {
		switch {
		case !slices.ContainsFunc(n.options, c.Has):
			text := "CONFIG_" + strings.Join(n.options, " or CONFIG_") + " (" + n.why + ")"
			if n.wish {
				wished = append(wished, text)
			} else {
				missing = append(missing, text)
			}
		case n.module != "" && c.Module(n.options[0]):
			modules = append(modules, n.module)
		}
	}
	if len(missing) > 0 {
		return nil, cli.Unusablef("kernel %s lacks %s, says %s: take or build a kernel that has it", i.Release, strings.Join(missing, ", "), c.Origin)
	}
	if len(wished) > 0 {
		fmt.Fprintf(progress, "vvuimage: kernel %s has no %s, says %s; vvufwd does without\n", i.Release, strings.Join(wished, ", "), c.Origin)
	}
	return modules, nil
}

// builtIn fails unless all that modules could be for is built into the kernel.
func (o *options) builtIn(needs []need, i *kernel.Image, c *kernel.Config) error {
	for _, n := range needs {
		if !n.wish && !slices.ContainsFunc(n.options, c.BuiltIn) {
			return cli.Unusablef("kernel %s has CONFIG_%s as a module (%s), and there is no %s: give --modules DIR", i.Release, n.options[0], n.why, o.looked(i.Release))
		}
	}
	return nil
}
