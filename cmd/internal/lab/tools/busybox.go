package tools

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// applets are what the app VM's scripts use beyond the commands that every busybox has.
var applets = []string{"sh", "udhcpc", "httpd", "wget", "ping", "ip", "modprobe", "sha256sum", "poweroff", "taskset", "nproc", "unxz"}

// busybox finds, if no flag names one, a busybox that runs without libraries and has what the app VM needs.
func (f *finder) busybox(ctx context.Context, t *Tools) error {
	if f.Busybox != "" {
		return nil
	}
	if path, err := exec.LookPath("busybox"); err == nil && checkBusybox(ctx, path) == nil {
		t.Busybox = path
		return nil
	}
	root, err := f.debian.guest(ctx)
	if err != nil {
		return err
	}
	t.Busybox = filepath.Join(root, "bin", "busybox")
	if !readable(t.Busybox) {
		t.Busybox = filepath.Join(root, "usr", "bin", "busybox")
	}
	if err := checkBusybox(ctx, t.Busybox); err != nil {
		return fmt.Errorf("busybox unpacked in %s: %w", root, err)
	}
	return nil
}

func checkBusybox(ctx context.Context, path string) error {
	if err := CheckStatic(path); err != nil {
		if _, other := errors.AsType[*elf.FormatError](err); other {
			return fmt.Errorf("it is no program (%w): give a static busybox, such as Debian's busybox-static", err)
		}
		return err
	}
	program, err := filepath.Abs(path) // a name without a slash would be looked for in PATH
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return fmt.Errorf("list its applets: %w", err)
	}
	has := strings.Fields(string(out))
	for _, applet := range applets {
		if !slices.Contains(has, applet) {
			return fmt.Errorf("it has no %s: give a complete one, such as Debian's busybox-static", applet)
		}
	}
	return nil
}

// CheckStatic makes sure that a program runs in a virtual machine in which it is alone: for x86-64, and without an interpreter.
func CheckStatic(path string) error {
	program, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer program.Close()
	if program.Machine != elf.EM_X86_64 {
		return fmt.Errorf("it is built for %v, but the virtual machines are x86-64", program.Machine)
	}
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("it is linked dynamically: give a static one")
		}
	}
	return nil
}
