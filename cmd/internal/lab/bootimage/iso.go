package bootimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mkrescue is GRUB's program that makes ISO images, of whichever of its platforms are installed: BIOS, UEFI or both.
const mkrescue = "grub-mkrescue"

// ErrNoTools says what to install.
var ErrNoTools = errors.New("it takes grub-mkrescue with GRUB's files for BIOS or UEFI, xorriso and mtools: on Debian apt install grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools")

// grubFiles is where GRUB's packages put what images of a platform are made of, a directory each.
var grubFiles = "/usr/lib/grub"

// ISOMissing is the way of booting, BIOS or UEFI, that an ISO image made here has not, and Debian's package that it takes. It is empty if
// images have both, or if it is not known.
func ISOMissing() (way, pkg string) {
	has := func(platform string) bool {
		info, err := os.Stat(filepath.Join(grubFiles, platform))
		return err == nil && info.IsDir()
	}
	switch bios, uefi := has("i386-pc"), has("x86_64-efi"); {
	case bios && !uefi:
		return "UEFI", "grub-efi-amd64-bin"
	case uefi && !bios:
		return "BIOS", "grub-pc-bin"
	}
	return "", ""
}

// ISO writes an ISO image that boots to a file.
func ISO(ctx context.Context, boot Boot, file string) error {
	for _, program := range []string{mkrescue, "xorriso", "mformat"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("make an ISO image: %w", ErrNoTools)
		}
	}
	dir, err := os.MkdirTemp("", "iso-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	grub := filepath.Join(dir, "boot", "grub")
	if err := os.MkdirAll(grub, 0o755); err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "boot", "vmlinuz"), boot.Kernel, 0o644),
		os.WriteFile(filepath.Join(dir, "boot", "initrd"), boot.Initrd, 0o644),
		os.WriteFile(filepath.Join(grub, "grub.cfg"), []byte(menu(boot.CommandLine)), 0o644),
	); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, mkrescue, "-o", file, dir)
	// The same input gives the same bytes, unless someone says which time it is.
	cmd.Env = append([]string{"SOURCE_DATE_EPOCH=315532800"}, os.Environ()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s: %w: %s", mkrescue, err, lines[len(lines)-1])
	}
	return nil
}

// menu is what GRUB does: it boots at once.
func menu(commandLine string) string {
	words := strings.Fields(commandLine)
	for i, word := range words {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return "set timeout=0\nlinux /boot/vmlinuz " + strings.Join(words, " ") + "\ninitrd /boot/initrd\nboot\n"
}
