package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/bootimage"
	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/kernel"
	"vvufwd/cmd/internal/lab/kmod"
	"vvufwd/cmd/internal/lab/tools"
)

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseOptions(args, out)
	if err != nil {
		return err
	}
	if o.version {
		fmt.Fprintln(out, cli.Version("vvuimage"))
		return nil
	}
	if err := o.checkOutput(); err != nil {
		return &cli.UnusableError{Err: err}
	}
	image, release, err := o.plan(ctx, progress)
	if err != nil {
		return err
	}
	if err := o.tooMany(); err != nil {
		return err
	}
	size, err := o.save(ctx, image, release)
	if err != nil {
		return saving(err)
	}
	fmt.Fprintf(progress, "vvuimage: wrote %s, %s, for kernel %s, with %s\n", o.output, cli.Bytes(uint64(size)), release, contents(image))
	if way, pkg := bootimage.ISOMissing(); way != "" && o.kind() == asISO {
		fmt.Fprintf(progress, "vvuimage: %s does not boot by %s: that takes GRUB's files for it, of Debian's package %s\n", o.output, way, pkg)
	}
	hintFirmware(image, progress)
	if o.init == "" {
		o.print(out)
	}
	return nil
}

// hintFirmware says so when drivers of NICs may want firmware that the image has not.
func hintFirmware(d initramfs.Driver, progress io.Writer) {
	if d.Modules == nil || d.Firmware != "" || len(d.MoreModules) == 0 {
		return
	}
	all, err := d.Modules.Closure(d.MoreModules...)
	if err != nil {
		return
	}
	for _, m := range all {
		// What is no module at all was copied as it is; the kernel will say so.
		if blobs, err := d.Modules.Firmware(m); err == nil && len(blobs) > 0 {
			fmt.Fprintf(progress, "vvuimage: kernel module %s may load firmware, such as %s: give --firmware DIR if the NIC needs it\n", m.Name, blobs[0])
		}
	}
}

// saving tells what was named and is not there from a failure to write.
func saving(err error) error {
	if errors.Is(err, kmod.ErrNoModule) || errors.Is(err, fs.ErrNotExist) {
		return &cli.UnusableError{Err: err}
	}
	return err
}

// plan finds all that the image is made of, and completes vvufwd's arguments with modules to load.
func (o *options) plan(ctx context.Context, progress io.Writer) (d initramfs.Driver, release string, err error) {
	unusable := func(err error) (initramfs.Driver, string, error) {
		return initramfs.Driver{}, "", &cli.UnusableError{Err: err}
	}
	i, err := kernel.Open(o.kernel)
	if err != nil {
		return unusable(fmt.Errorf("--kernel: %w", err))
	}
	program, err := o.program()
	if err != nil {
		return unusable(err)
	}
	if err := o.checkWords(ctx, program, progress); err != nil {
		return d, "", err
	}
	tree, err := o.tree(i.Release)
	if err != nil {
		return unusable(err)
	}
	dir := ""
	if tree != nil {
		dir = tree.Dir
	}
	config, err := i.Config(dir)
	if err != nil {
		return unusable(err)
	}
	if err := o.fit(i, config, tree, progress); err != nil {
		return d, "", err
	}
	if o.firmware != "" {
		if info, err := os.Stat(o.firmware); err != nil {
			return unusable(fmt.Errorf("--firmware: %w", err))
		} else if !info.IsDir() {
			return unusable(fmt.Errorf("--firmware: %s is not a directory: give one such as /lib/firmware", o.firmware))
		}
	}
	return initramfs.Driver{Init: program, Other: o.init != "", Modules: tree, MoreModules: o.nicModules, Firmware: o.firmware, Files: o.add}, i.Release, nil
}

// checkWords has the vvufwd of the image check its arguments, and says so if that vvufwd does not run on this machine.
func (o *options) checkWords(ctx context.Context, program string, progress io.Writer) error {
	if o.init != "" {
		return nil
	}
	err := tools.CheckArguments(ctx, program, "--args", o.words)
	if errors.Is(err, tools.ErrNotChecked) {
		cli.PrintError(progress, "vvuimage", err)
		return nil
	}
	return err
}

// fit makes sure that the kernel has what is needed, and has modules for that loaded.
func (o *options) fit(i *kernel.Image, config *kernel.Config, tree *kmod.Tree, progress io.Writer) error {
	needs := o.needs()
	if config == nil {
		fmt.Fprintf(progress, "vvuimage: no configuration of kernel %s was found, so no one knows whether it has all that is needed: put it beside the image, as config-%s\n", i.Release, i.Release)
	} else {
		more, err := check(needs, i, config, progress)
		if err != nil {
			return err
		}
		for _, name := range more {
			o.nicModules.add(name)
		}
	}
	switch {
	case tree != nil:
	case config == nil:
		return cli.Unusablef("there is no %s, and nothing says that kernel %s does without: give --modules DIR", o.looked(i.Release), i.Release)
	case len(o.nicModules) > 0:
		return cli.Unusablef("there is no %s to take %s from: give --modules DIR", o.looked(i.Release), o.nicModules.String())
	default:
		return o.builtIn(needs, i, config)
	}
	for _, name := range o.nicModules {
		if !tree.Knows(name) {
			return cli.Unusablef("%w: %s (kernel %s, looked in %s): see its name in modules.dep or \"find %s -name '*.ko*'\"", kmod.ErrNoModule, name, tree.Release, tree.Dir, tree.Dir)
		}
	}
	o.loadModules()
	return nil
}

// loadModules tells vvufwd to load all modules that are in the image for interfaces.
func (o *options) loadModules() {
	told := make(map[string]bool)
	var had names
	for _, value := range o.words.values("modules") {
		for name := range strings.SplitSeq(value, ",") {
			had.add(name)
		}
	}
	for _, name := range had {
		told[name] = true
	}
	var more []string
	for _, name := range o.nicModules {
		if !told[name] {
			more = append(more, name)
		}
	}
	if len(more) > 0 {
		o.words = append(o.words, "--modules="+strings.Join(more, ","))
	}
}

// besides are where modules are in a directory that has lib/modules, or is it.
var besides = []string{"", "lib/modules", "usr/lib/modules"}

// tree opens the kernel's modules, nil if no directory was named and there is none.
func (o *options) tree(release string) (*kmod.Tree, error) {
	if o.modules == "" {
		for _, dir := range o.unnamed(release) {
			if kmod.IsRelease(dir) { // and no directory of headers alone
				return kmod.Open(dir)
			}
		}
		return nil, nil
	}
	dir := o.modules
	for _, below := range besides {
		if one := filepath.Join(o.modules, below, release); kmod.IsRelease(one) {
			dir = one
			break
		}
	}
	tree, err := kmod.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("--modules: %w", err)
	}
	if tree.Release != release {
		return nil, fmt.Errorf("--modules: %s has the modules of kernel %s, but %s is kernel %s: take both from the same build", tree.Dir, tree.Release, o.kernel, release)
	}
	return tree, nil
}

// unnamed are the directories of modules that --modules need not name: beside the boot directory that the kernel is in, as in a
// package that was unpacked, and this machine's.
func (o *options) unnamed(release string) []string {
	var dirs []string
	if file, err := filepath.Abs(o.kernel); err == nil && filepath.Base(filepath.Dir(file)) == "boot" {
		for _, below := range besides[1:] {
			dirs = append(dirs, filepath.Join(filepath.Dir(filepath.Dir(file)), below, release))
		}
	}
	if here := filepath.Join("/lib/modules", release); !slices.Contains(dirs, here) {
		dirs = append(dirs, here)
	}
	return dirs
}

// looked are the directories where no modules were found.
func (o *options) looked(release string) string { return strings.Join(o.unnamed(release), " and no ") }

// program finds what is to be /init: vvufwd, unless --init names something else.
func (o *options) program() (string, error) {
	if o.init != "" {
		return o.init, checkInit(o.init)
	}
	program, err := o.forwarder()
	if err != nil {
		return "", err
	}
	switch err := tools.CheckStatic(program); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("no vvufwd for the image: %w: give --vvufwd PROGRAM", err)
	case err != nil:
		return "", fmt.Errorf("%s must run as /init of a virtual machine: %w (make build makes one; --vvufwd PROGRAM names it)", program, cli.Unnamed(err))
	}
	return program, nil
}

// forwarder is the vvufwd of the image: that of the command line, or the one beside this program.
func (o *options) forwarder() (string, error) {
	if o.vvufwd != "" {
		return o.vvufwd, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find vvufwd: %w: give --vvufwd PROGRAM", err)
	}
	return filepath.Join(filepath.Dir(self), "vvufwd"), nil
}

// checkInit makes sure that a file can be /init: a script, or a program that is alone.
func checkInit(name string) error {
	script, err := isScript(name)
	if err != nil || script {
		return err
	}
	if err := tools.CheckStatic(name); err != nil {
		return fmt.Errorf("--init: %s is no script that begins with #!, nor a static program: %w", name, cli.Unnamed(err))
	}
	return nil
}

// isScript reports whether --init names a file that says which program is to read it.
func isScript(name string) (bool, error) {
	file, err := os.Open(name)
	if err != nil {
		return false, fmt.Errorf("--init: %w", err)
	}
	defer file.Close()
	var begin [2]byte
	_, err = io.ReadFull(file, begin[:])
	return err == nil && string(begin[:]) == "#!", nil
}

// contents says what is in the image besides vvufwd.
func contents(d initramfs.Driver) string {
	text := "no kernel modules"
	if d.Modules != nil {
		if all, err := d.Modules.Closure(d.ModuleNames()...); err == nil {
			text = counted(len(all), "kernel module")
		}
	}
	if len(d.Files) == 0 {
		return text
	}
	return text + " and " + counted(len(d.Files), "file")
}

// counted is a number of things, with their name in the singular or in the plural.
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
