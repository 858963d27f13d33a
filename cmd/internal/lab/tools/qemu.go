package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/lab/machine"
)

const qemuProgram = "qemu-system-x86_64"

// qemu finds the QEMU of each virtual machine for which no flag names one.
func (f *finder) qemu(ctx context.Context, t *Tools) (err error) {
	if f.QEMU == "" {
		if t.QEMU, err = f.driverQEMU(ctx); err != nil {
			return err
		}
	}
	if f.AppQEMU == "" {
		t.AppQEMU = t.QEMU
	}
	if f.QEMU == "" && f.AppQEMU == "" {
		return f.checkAppQEMU("the QEMU in PATH,", t.QEMU)
	}
	return nil
}

func (f *finder) driverQEMU(ctx context.Context) (machine.QEMU, error) {
	if path, err := exec.LookPath(qemuProgram); err == nil {
		q, err := probe(ctx, machine.QEMU{Command: []string{path}, Origin: path})
		if err == nil && (!f.NeedVfioUser || q.Version.AtLeast(machine.VfioUser) && hasDevice(ctx, q, "vfio-user-pci")) {
			return q, nil
		}
	}
	return f.debian.qemu(ctx)
}

// givenQEMU is the driver VM's QEMU as the flag names it.
func (o Options) givenQEMU(ctx context.Context) (machine.QEMU, error) {
	q, err := given(ctx, "--qemu", o.QEMU)
	if err == nil && o.NeedVfioUser && !q.Version.AtLeast(machine.VfioUser) {
		err = fmt.Errorf("--qemu %s is version %v, but the vfio-user-pci device came with %v: give a newer one, or --device qemu if it has virtio-vhost-user-pci built in", o.QEMU, q.Version, machine.VfioUser)
	}
	return q, err
}

// given checks a QEMU that was named by a flag. Its device list is not looked at: if a device is missing, QEMU says so best.
func given(ctx context.Context, flag, path string) (machine.QEMU, error) {
	program, err := programFile(path)
	if err != nil {
		return machine.QEMU{}, fmt.Errorf("%s: %w", flag, err)
	}
	q, err := probe(ctx, machine.QEMU{Command: []string{program}, Origin: path})
	if err != nil {
		return q, fmt.Errorf("%s: %w", flag, err)
	}
	return q, nil
}

// programFile is the file of a program that was named by its path, or by a name to be found in PATH.
func programFile(name string) (string, error) {
	_, err := os.Stat(name)
	if err != nil && !strings.Contains(name, "/") {
		if name, err = exec.LookPath(name); err != nil {
			return "", fmt.Errorf("%w, nor is there such a file", err)
		}
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

// probe asks a QEMU for its version.
func probe(ctx context.Context, q machine.QEMU) (machine.QEMU, error) {
	out, err := output(ctx, q, "--version")
	if err != nil {
		return q, err
	}
	if q.Version, err = machine.ParseVersion(out); err != nil {
		return q, fmt.Errorf("%s: %w", q.Origin, err)
	}
	return q, nil
}

// hasDevice reports whether a QEMU was built with a device.
func hasDevice(ctx context.Context, q machine.QEMU, device string) bool {
	out, err := output(ctx, q, "-device", "help")
	return err == nil && strings.Contains(out, `"`+device+`"`)
}

func output(ctx context.Context, q machine.QEMU, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, q.Command[0], append(q.Command[1:len(q.Command):len(q.Command)], args...)...)
	out, err := cmd.Output()
	if err != nil {
		why := cli.Unnamed(err).Error()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
			why, _, _ = strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		}
		return "", fmt.Errorf("run %s %s: %s", q.Origin, strings.Join(args, " "), why)
	}
	return string(out), nil
}
