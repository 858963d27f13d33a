package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/bootimage"
	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
)

// Kinds of images, by the ends of their files' names. Any other is an initramfs.
const (
	asUKI = ".efi"
	asISO = ".iso"
)

// Where Debian's packages put what UKIs take.
const (
	defaultStub  = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub" // systemd-boot-efi
	ovmfFirmware = "/usr/share/ovmf/OVMF.fd"                     // ovmf
)

// whole reports whether the image has the kernel and its command line in it.
func (o *options) whole() bool { return o.kind() != "" }

func (o *options) kind() string {
	if kind := filepath.Ext(o.output); kind == asUKI || kind == asISO {
		return kind
	}
	return ""
}

// checkOutput makes sure that what is written takes the place of an older image and of nothing else: it is renamed there, and would
// replace a device such as /dev/null, too.
func (o *options) checkOutput() error {
	there, err := os.Stat(o.output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("-o: %w", err)
	case there.IsDir():
		return fmt.Errorf("-o %s is a directory: name a file in it, such as driver.cpio.gz", o.output)
	case !there.Mode().IsRegular():
		return fmt.Errorf("-o %s is no regular file, which alone is replaced: choose another name", o.output)
	}
	read := map[string]string{"--kernel": o.kernel, "--init": o.init, "--stub": o.stub}
	if o.init == "" {
		if read["--vvufwd"], err = o.forwarder(); err != nil {
			return err
		}
	}
	for _, from := range o.add {
		read["--add "+from] = from
	}
	for what, name := range read {
		if source, err := os.Stat(name); err == nil && os.SameFile(source, there) {
			return fmt.Errorf("-o %s is the file of %s: choose another name", o.output, what)
		}
	}
	return nil
}

// save writes the image, whole or not at all, and returns its size.
func (o *options) save(ctx context.Context, d initramfs.Driver, release string) (int64, error) {
	if !o.whole() {
		return d.Save(o.output)
	}
	dir, err := os.MkdirTemp(filepath.Dir(o.output), ".vvuimage-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if _, err := d.Save(initrd); err != nil {
		return 0, err
	}
	boot := bootimage.Boot{CommandLine: o.commandLine(), Release: release}
	if boot.Initrd, err = os.ReadFile(initrd); err != nil {
		return 0, err
	}
	if boot.Kernel, err = os.ReadFile(o.kernel); err != nil {
		return 0, err
	}
	file := filepath.Join(dir, "image")
	if o.kind() == asISO {
		err = bootimage.ISO(ctx, boot, file)
	} else {
		err = o.saveUKI(boot, file)
	}
	if err != nil {
		return 0, cli.Unusablef("-o %s: %w", o.output, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return info.Size(), os.Rename(file, o.output)
}

func (o *options) saveUKI(boot bootimage.Boot, file string) error {
	stub, err := os.ReadFile(o.stub)
	if err != nil {
		if _, missing := err.(*fs.PathError); missing && o.stub == defaultStub {
			return fmt.Errorf("%w: install systemd's stub (Debian's package systemd-boot-efi), or give --stub FILE", err)
		}
		return fmt.Errorf("--stub: %w", err)
	}
	image, err := bootimage.UKI(stub, boot)
	if err != nil {
		return fmt.Errorf("--stub %s: %w", o.stub, err)
	}
	return os.WriteFile(file, image, 0o644)
}

// commandLine is the kernel's.
func (o *options) commandLine() string {
	if o.init != "" {
		return machine.Boot{}.CommandLine()
	}
	d, _ := o.machine()
	return d.CommandLine()
}
