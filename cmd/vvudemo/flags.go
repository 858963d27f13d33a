package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/vvudemo/matrix"
	"vvufwd/cmd/vvudemo/show"
)

// options is the parsed command line.
type options struct {
	qemu, appQEMU, kernel, modules, busybox string
	bin, build                              string

	device     string
	shadow     bool
	iommu      machine.IOMMU
	direct     bool
	appNetOpts string
	vvufwdArgs string
	nic        string
	nicPort    machine.NICPort
	newest     bool
	tap        string
	accel      string
	smp        int

	appVMs   int
	isolate  bool
	transfer int
	frames   int64
	bench    benchOptions
	restarts int
	rebinds  int
	idle     time.Duration
	keep     bool
	print    bool
	capture  bool
	matrix   string
	timeout  time.Duration

	json             jsonOption
	verbose, version bool
}

// Values of --device.
const (
	deviceVvudev = "vvudev"
	deviceQEMU   = "qemu"
)

// parseFlags reads and checks the command line. Help goes to help.
func parseFlags(args []string, help io.Writer) (*options, error) {
	o := &options{}
	fs := cli.NewFlags("vvudemo")
	fs.StringVar(&o.device, "device", deviceVvudev, "who provides the virtio-vhost-user `DEVICE`: vvudev (any QEMU from 10.1), or qemu (one that has it built in; give --qemu)")
	fs.Func("iommu", "`KIND` of the driver VM's IOMMU: none (as in the demo of 2021), intel or virtio (default intel)", func(s string) (err error) {
		o.iommu, err = machine.ParseIOMMU(s)
		return err
	})
	fs.BoolVar(&o.shadow, "shadow", false, "keep the app VM's memory from the driver VM: vvudev shows that a region with the frames on their way only")
	fs.BoolVar(&o.direct, "direct", false, "give the app VM the network without a driver VM, to compare with")
	fs.IntVar(&o.appVMs, "app-vms", 1, "`N` app VMs, 8 at most: with more than one, vvufwd is a switch")
	fs.BoolVar(&o.isolate, "isolate", false, "isolate several app VMs from each other")
	fs.IntVar(&o.transfer, "transfer", show.TransferBytes>>20, "download and upload `N` MiB")
	fs.Int64Var(&o.frames, "frames", 0, "let the app VM's kernel packet generator send `N` frames, none of which may get lost")
	o.bench.define(fs)
	fs.DurationVar(&o.idle, "idle", 0, "leave the machines alone for `DURATION` and show what they cost then; 0: not at all")
	fs.IntVar(&o.restarts, "restarts", 0, "kill the app VM under load and start it again `N` times")
	fs.IntVar(&o.rebinds, "rebinds", 0, "have the app VM's guest take its network device from the driver and give it back `N` times")
	fs.StringVar(&o.tap, "tap", "", "connect the NIC to the TAP device `NAME`, made if it does not exist (needs root), instead of QEMU's user networking")
	fs.StringVar(&o.nic, "nic", string(machine.VirtioNet), "the driver VM's `NIC`: virtio-net, e1000e, igb, or igbvf (a virtual function of an igb that is the kernel's)")
	fs.Func("nic-port", "`WAY` to the NIC: vfio, or packet, xdp or interface (the better one) over an interface of the driver VM's kernel (default vfio)", func(s string) (err error) {
		o.nicPort, err = machine.ParseNICPort(s)
		return err
	})
	fs.BoolVar(&o.newest, "newest-kernel", false, "boot the driver VM with the newest kernel of Debian's backports: with --nic-port xdp its drivers of virtio-net and igb NICs have zero copy")
	fs.StringVar(&o.matrix, "matrix", "", "instead of anything else, try app VMs of several kernels with `COMBINATIONS` of rings, buffers, offloads and queues: all, pairs (a few that cover each pair of choices), or those of all whose name matches a regular expression")
	fs.BoolVar(&o.capture, "capture", false, "have vvufwd capture what passes between it and the app VM, too: BUILD/demo/driver.pcapng, besides nic.pcap, which is QEMU's")
	fs.BoolVar(&o.keep, "keep", false, "leave the machines running until Enter")
	fs.BoolVar(&o.print, "print", false, "instead of anything else, write both RAM disks and print the command lines that would be run, to be run by hand")
	fs.StringVar(&o.accel, "accel", "tcg", "`ACCELERATOR` of both machines: tcg or kvm")
	fs.IntVar(&o.smp, "smp", 2, "`N` processors for the driver VM")
	fs.DurationVar(&o.timeout, "timeout", 0, "give up after this `DURATION`; 0: ten minutes and more for --frames, --pktgen, --restarts and --rebinds, without limit with --keep")
	fs.Var(&o.json, "json", "write the report as JSON instead of a table, or with --json=`FILE` into a file besides")
	fs.BoolVar(&o.verbose, "verbose", false, "copy all consoles to standard error")
	fs.StringVar(&o.qemu, "qemu", "", "`PATH` of the driver VM's QEMU, and of the app VM's unless --app-qemu is given")
	fs.StringVar(&o.appQEMU, "app-qemu", "", "`PATH` of the app VM's QEMU, 5.0 or later")
	fs.StringVar(&o.appNetOpts, "app-net-opts", "", "more `PROPERTIES` of the app VM's virtio-net device, such as vectors=0")
	fs.StringVar(&o.vvufwdArgs, "vvufwd-args", "", "more `ARGUMENTS` of vvufwd, separated by spaces")
	fs.StringVar(&o.kernel, "kernel", "", "`PATH` of the kernel image for both machines; give --modules too")
	fs.StringVar(&o.modules, "modules", "", "`DIR` of that kernel's modules (lib/modules/RELEASE), or of the lists that it has there if all is built in")
	fs.StringVar(&o.busybox, "busybox", "", "`PATH` of a static busybox")
	fs.StringVar(&o.bin, "bin", "", "`DIR` of vvufwd and vvudev; built from the source tree if not given")
	fs.StringVar(&o.build, "build", "", "`DIR` for all that is fetched and written (default: build in the source tree that the working directory, or vvudemo, is in)")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	cli.Once(fs, "tap", "vvufwd-args", "app-net-opts", "pktgen-sizes")
	if err := cli.Parse(fs, args, help, helpText); err != nil || o.version {
		return o, err
	}
	if o.matrix == "" && cli.Given(fs, "matrix") {
		return nil, cli.Usagef("--matrix \"\": want all, pairs, or a regular expression")
	}
	if o.matrix != "" {
		if _, err := o.combinations(); err != nil {
			return nil, err
		}
	}
	if err := o.misplaced(fs); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, o.bench.check(fs)
}

// kvm is what QEMU opens for --accel kvm.
const kvm = "/dev/kvm"

// open opens what is written at the end, and makes sure of files that flags name and only the machines need, before anything takes its time.
func (o *options) open() error {
	unusable := func(err error) error { return &cli.UnusableError{Err: err} }
	if o.accel == "kvm" && !o.print {
		if err := unix.Access(kvm, unix.R_OK|unix.W_OK); err != nil {
			return unusable(fmt.Errorf("--accel kvm: %s: %w: leave --accel out, or see to it that you may use it", kvm, err))
		}
	}
	if o.bench.otherImage != "" {
		info, err := os.Stat(o.bench.otherImage)
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a directory", o.bench.otherImage)
		}
		if err != nil {
			return unusable(fmt.Errorf("--other-image: %w", err))
		}
	}
	return o.json.open()
}

// check finds contradictions.
func (o *options) check() error {
	switch {
	case o.device != deviceVvudev && o.device != deviceQEMU:
		return cli.Usagef("--device %q: want %s or %s", o.device, deviceVvudev, deviceQEMU)
	case o.device == deviceQEMU && o.qemu == "":
		return cli.Usagef("--device qemu needs --qemu PATH: a QEMU that has virtio-vhost-user-pci built in")
	case o.shadow && o.device != deviceVvudev:
		return cli.Usagef("--shadow is vvudev's: drop it, or --device")
	case o.accel != "tcg" && o.accel != "kvm":
		return cli.Usagef("--accel %q: want tcg or kvm", o.accel)
	case machine.NIC(o.nic) == machine.IGBVF && o.iommu != machine.Intel:
		return cli.Usagef("--nic igbvf needs Debian's full kernel, which goes with --iommu intel only here")
	case o.nicPort.OfKernel() && o.needsHardware() && o.iommu != machine.Intel:
		return cli.Usagef("--nic-port %s of an %s needs Debian's full kernel, which goes with --iommu intel only here", o.nicPort, o.nic)
	case o.nicPort.OfKernel() && machine.NIC(o.nic) == machine.IGBVF:
		return cli.Usagef("--nic-port %s: of an igb with virtual functions only these are used: give --nic igb", o.nicPort)
	case o.newest && (o.kernel != "" || o.iommu != machine.Intel):
		return cli.Usagef("--newest-kernel is a kernel of Debian's: drop --kernel and --iommu")
	case !machine.NIC(o.nic).Known():
		return cli.Usagef("--nic %q: want one of %s", o.nic, strings.Trim(fmt.Sprint(machine.NICs), "[]"))
	case o.smp < 1 || o.smp > 64:
		return cli.Usagef("--smp %d: want 1 to 64", o.smp)
	case o.appVMs < 1 || o.appVMs > machine.MaxAppVMs:
		return cli.Usagef("--app-vms %d: want 1 to %d", o.appVMs, machine.MaxAppVMs)
	case o.isolate && o.appVMs == 1:
		return cli.Usagef("--isolate keeps several app VMs from each other: give --app-vms")
	case o.capture && machine.NIC(o.nic) == machine.IGBVF:
		return cli.Usagef("--capture does not go with --nic igbvf: drop one of them")
	case o.print && machine.NIC(o.nic) == machine.IGBVF:
		return cli.Usagef("--print does not go with --nic igbvf: drop one of them")
	case o.transfer < 1 || o.transfer > show.MaxTransferBytes>>20:
		return cli.Usagef("--transfer %d: want 1 to %d", o.transfer, show.MaxTransferBytes>>20)
	case o.frames < 0:
		return cli.Usagef("--frames %d: want 0 or more", o.frames)
	case o.idle < 0:
		return cli.Usagef("--idle %v: want 0 or more", o.idle)
	case o.restarts < 0:
		return cli.Usagef("--restarts %d: want 0 or more", o.restarts)
	case o.rebinds < 0:
		return cli.Usagef("--rebinds %d: want 0 or more", o.rebinds)
	case o.timeout < 0:
		return cli.Usagef("--timeout %v: want 0 or more", o.timeout)
	case len(o.tap) > 15:
		return cli.Usagef("--tap %q: a network device's name has 15 characters at most", o.tap)
	case strings.ContainsAny(o.tap, "/: \t\n,") || o.tap == "." || o.tap == "..":
		return cli.Usagef("--tap %q: want the name of a network device, such as tap0", o.tap)
	}
	return nil
}

// limit is how long everything may take.
func (o *options) limit() time.Duration {
	switch {
	case o.timeout > 0:
		return o.timeout
	case o.keep:
		return 365 * 24 * time.Hour
	}
	const slowest = 500 // frames of the packet generator a second
	if o.matrix != "" {
		return 3 * time.Hour
	}
	return 10*time.Minute + time.Duration(o.frames/slowest)*time.Second + time.Duration(o.restarts)*2*time.Minute +
		time.Duration(o.rebinds)*time.Minute + o.idle + o.bench.limit()
}

// needsNewest reports whether a driver VM has the newest kernel without drivers for hardware, or an app VM in a combination that --matrix names.
func (o *options) needsNewest() bool {
	if o.matrix == "" {
		return o.newest && !o.needsHardware()
	}
	found, err := o.combinations()
	return err == nil && slices.ContainsFunc(found, func(c matrix.Combination) bool { return c.Newest })
}

// combinations are those that --matrix names.
func (o *options) combinations() ([]matrix.Combination, error) {
	switch o.matrix {
	case "all":
		return matrix.All(), nil
	case "pairs":
		return matrix.Pairs(), nil
	}
	pattern, err := regexp.Compile(o.matrix)
	if err != nil {
		return nil, cli.Usagef("--matrix %q: %w", o.matrix, err)
	}
	found := slices.DeleteFunc(matrix.All(), func(c matrix.Combination) bool { return !pattern.MatchString(c.String()) })
	if len(found) == 0 {
		return nil, cli.Usagef("--matrix %q matches no combination; the first is named %q", o.matrix, matrix.All()[0])
	}
	return found, nil
}

// needsVfioUser reports whether the driver VM's QEMU must have vfio-user-pci.
func (o *options) needsVfioUser() bool { return o.device == deviceVvudev && !o.direct }

// needsHardware reports whether the driver VM's kernel must have drivers for hardware.
func (o *options) needsHardware() bool {
	nic := machine.NIC(o.nic)
	return nic == machine.IGBVF || o.nicPort.OfKernel() && nic.Hardware()
}

// config is what the flags say to show. Outputs are left to the caller.
func (o *options) config(found *tools.Tools, out string) show.Config {
	cfg := show.Config{
		Tools: found, IOMMU: o.iommu, AppVMs: o.appVMs, Isolate: o.isolate, Direct: o.direct, Shadow: o.shadow, AppNetOpts: o.appNetOpts, ForwarderArgs: strings.Fields(o.vvufwdArgs), NIC: machine.NIC(o.nic), NICPort: o.nicPort, Newest: o.newest, TAP: o.tap,
		Transfer: int64(o.transfer) << 20, Frames: o.frames, Capture: o.capture, Restarts: o.restarts, Rebinds: o.rebinds, Idle: o.idle, Accel: o.accel, SMP: o.smp, OutDir: out,
	}
	cfg.OtherImage, cfg.OtherReady = o.bench.otherImage, o.bench.otherReady
	if o.device == deviceQEMU {
		cfg.Device = machine.BuiltIn
	}
	return cfg
}

var helpText = cli.Help{
	About: "vvudemo boots two virtual machines and shows packets passing between them.",
	Usage: "vvudemo [flags]",
	Notes: "Exit codes: 0 everything was shown, 1 something was not, 2 usage, 3 a file or a program that was named is not usable.",
}
