package main

import (
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/modules"
)

type options struct {
	kernel     string
	modules    string
	nicModules names
	firmware   string
	add        map[string]string // host files by their paths in the image
	words      words             // vvufwd's arguments
	argsGiven  bool
	iommu      machine.IOMMU
	vvufwd     string
	init       string // what is /init in place of vvufwd; empty: vvufwd is
	output     string
	stub       string // systemd's, for UKIs
	version    bool
}

var helpText = cli.Help{
	About: "vvuimage makes the initramfs of a driver VM, whose only program is vvufwd, for any kernel,\nand prints the command lines that boot it. With --init it makes one of any other VM.",
	Usage: `vvuimage --kernel FILE [--nic-modules NAMES] [--args WORDS] -o FILE [flags]`,
	Notes: `A kernel that lacks an option that is needed is refused, with what it is needed for. Exit codes: 0 done,
1 run-time failure, 2 usage, 3 a file, such as the kernel, is not usable.`,
}

// parseOptions reads the command line. Help goes to out.
func parseOptions(args []string, out io.Writer) (o options, err error) {
	f := cli.NewFlags("vvuimage")
	iommu := ""
	f.StringVar(&o.kernel, "kernel", "", "image `FILE` of the kernel that is to boot, such as /boot/vmlinuz-RELEASE")
	f.StringVar(&o.modules, "modules", "", "`DIR` of its modules, or one that has RELEASE, lib/modules/RELEASE or usr/lib/modules/RELEASE in it (default: those beside the boot directory of the kernel, or /lib/modules/RELEASE)")
	f.Var(&o.nicModules, "nic-modules", "`NAMES` of kernel modules such as e1000e,iwlwifi, for NICs that stay with the driver VM's kernel; vvufwd is told to load them")
	f.StringVar(&o.firmware, "firmware", "", "`DIR` of firmware, such as /lib/firmware, of which the image gets all that the modules for NICs name")
	f.Func("add", "one more `FILE[:PATH]` for the image, at the same path unless another is given; repeat for more", o.addFile)
	f.Func("args", "`WORDS` for vvufwd, such as \"--vvu 0000:00:05.0 --nic eth0\", in the command lines that are printed, whose devices are those that they name (default: --vvu 0000:00:05.0 and a --nic)", o.setArgs)
	f.StringVar(&iommu, "iommu", "intel", "`IOMMU` of the driver VM: intel, virtio or none; none is the default if --args has --noiommu or names no PCI function")
	f.StringVar(&o.vvufwd, "vvufwd", "", "static vvufwd `PROGRAM` (default: the one beside vvuimage)")
	f.StringVar(&o.init, "init", "", "static program or script `FILE` that is /init in place of vvufwd, for an app VM: the only modules are those of --nic-modules")
	f.StringVar(&o.output, "o", "", "`FILE` to write, such as driver.cpio.gz; driver.efi (a unified kernel image) and driver.iso have the kernel and its command line in them")
	f.StringVar(&o.stub, "stub", defaultStub, "systemd's stub `FILE` of unified kernel images, of Debian's package systemd-boot-efi")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	cli.Once(f, "kernel", "modules", "firmware", "args", "vvufwd", "init", "o")
	if err := cli.Parse(f, args, out, helpText); err != nil || o.version {
		return o, err
	}
	switch {
	case o.kernel == "":
		return o, cli.Usagef("--kernel is missing: name the image of the kernel that is to boot, such as /boot/vmlinuz-RELEASE")
	case o.output == "":
		return o, cli.Usagef("-o is missing: name the file to write, such as driver.cpio.gz")
	case cli.Given(f, "stub") && o.kind() != asUKI:
		return o, cli.Usagef("--stub is for unified kernel images: name one that ends in %s with -o, or leave it out", asUKI)
	case o.firmware != "" && len(o.nicModules) == 0 && !o.words.has("modules"):
		return o, cli.Usagef("--firmware gives what modules for NICs name: name those with --nic-modules, or give files with --add FILE:/lib/firmware/NAME")
	case o.init != "" && (o.argsGiven || o.vvufwd != "" || cli.Given(f, "iommu")):
		return o, cli.Usagef("--init FILE: there is no vvufwd in that image: leave --args, --vvufwd and --iommu away")
	case o.init != "":
		return o, nil
	}
	if o.iommu, err = machine.ParseIOMMU(iommu); err != nil {
		return o, cli.Usagef("--iommu %q: %w", iommu, err)
	}
	return o, o.complete(cli.Given(f, "iommu"))
}

// complete makes IOMMU and arguments fit each other, and the arguments the modules.
func (o *options) complete(iommuGiven bool) error {
	functions := !o.argsGiven || o.words.onPCI()
	switch bare := o.words.has("noiommu"); {
	case bare && iommuGiven && o.iommu != machine.None:
		return cli.Usagef("--iommu %v: --args has --noiommu, which is for --iommu none", o.iommu)
	case bare, !functions && !iommuGiven:
		o.iommu = machine.None
	case !functions:
	case o.iommu == machine.None && o.argsGiven:
		return cli.Usagef("--iommu none: --args must have --noiommu, without which vvufwd refuses functions that no IOMMU confines")
	case o.iommu == machine.Virtio && o.argsGiven && !o.words.has("allow-unsafe-interrupts"):
		return cli.Usagef("--iommu virtio: --args must have --allow-unsafe-interrupts, because that IOMMU remaps none")
	}
	if !o.argsGiven {
		nic := machine.NICAddress
		if len(o.nicModules) > 0 {
			nic = "eth0"
		}
		o.words = append(words{"--vvu=" + machine.VVUAddress(0), "--nic=" + nic}, o.iommu.InitArgs()...)
	}
	for _, name := range o.words.values("modules") {
		for one := range strings.SplitSeq(name, ",") {
			o.nicModules.add(one)
		}
	}
	return nil
}

// setArgs reads --args. The kernel parts words at white space.
func (o *options) setArgs(text string) error {
	o.words, o.argsGiven = strings.Fields(text), true
	switch {
	case strings.ContainsAny(text, `"'`):
		return errors.New("want words without quotes: the kernel splits them at blanks")
	case slices.Contains(o.words, "--"):
		return errors.New("want vvufwd's arguments alone: the word -- in front of them is put there")
	case len(o.words) == 0 || !strings.HasPrefix(o.words[0], "-"):
		return errors.New("want flags of vvufwd, such as \"--vvu 0000:00:05.0 --nic 0000:00:04.0\"")
	}
	return nil
}

// mostWords is how many arguments the kernel hands to /init. It panics if there are more.
const mostWords = 31

// mostBytes is how long the command line of a kernel for x86 can be (COMMAND_LINE_SIZE, without its NUL). It says nothing of what it cuts
// off, and a path without its end is a path.
const mostBytes = 2047

// tooMany is the error of too many words, or of words that are too long, nil if they are not.
func (o *options) tooMany() error {
	if n := len(o.words); n > mostWords {
		return cli.Usagef("--args: %d words, but the kernel panics at more than %d arguments of /init: write --flag=value", n, mostWords)
	}
	n := len(o.commandLine())
	if o.kind() == asISO {
		n += len("BOOT_IMAGE=/boot/vmlinuz ") // GRUB's
	}
	if n > mostBytes {
		return cli.Usagef("--args: they make a kernel command line of %d bytes, and the kernel cuts off what is beyond %d: choose shorter names, such as of files and sockets", n, mostBytes)
	}
	return nil
}

func (o *options) addFile(text string) error {
	from, to, given := strings.Cut(text, ":")
	if from == "" || given && to == "" {
		return errors.New("want FILE or FILE:PATH")
	}
	if !given {
		to = from
	}
	to = path.Clean("/" + to)
	if other, taken := o.add[to]; taken {
		return errors.New("the image gets " + other + " at " + to + " already")
	}
	if o.add == nil {
		o.add = make(map[string]string)
	}
	o.add[to] = from
	return nil
}

// names are names of kernel modules, each once.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

// Set implements flag.Value.
func (n *names) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if name == "" || strings.ContainsAny(name, "/. \t\n") {
			return errors.New("want names of modules such as e1000e,virtio_net, without directories and .ko")
		}
		n.add(name)
	}
	return nil
}

// add adds a name, in the kernel's spelling, unless it is there.
func (n *names) add(name string) {
	if name = modules.Name(name); !slices.Contains(*n, name) {
		*n = append(*n, name)
	}
}
