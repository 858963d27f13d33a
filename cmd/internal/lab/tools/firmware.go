package tools

import (
	"context"
	"path/filepath"

	"vvufwd/cmd/internal/lab/apt"
)

// firmwareRelease is the Debian release whose firmware is used.
const firmwareRelease = "trixie"

// Firmware is what a virtual machine boots with, beyond what QEMU has: iPXE as the option ROM of a virtio-net device.
// All are files.
type Firmware struct {
	Code, Vars string // OVMF and its variables, to be copied: the machine writes to them
	BIOS       string // OVMF with variables that are forgotten
	NetworkEFI string // iPXE as a UEFI program that uses the firmware's own network driver
}

// DebianFirmware unpacks firmware from Debian's packages. Of the options only BuildDir and Progress are looked at. What an earlier call
// unpacked is used as it is.
func DebianFirmware(ctx context.Context, o Options) (Firmware, error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return Firmware{}, err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	dir, err := d.packages(ctx, "firmware", firmwareRelease, func(*apt.Private) ([]string, error) {
		return []string{"ipxe", "ovmf"}, nil
	})
	if err != nil {
		return Firmware{}, err
	}
	return Firmware{
		Code:       filepath.Join(dir, "usr", "share", "OVMF", "OVMF_CODE_4M.fd"),
		Vars:       filepath.Join(dir, "usr", "share", "OVMF", "OVMF_VARS_4M.fd"),
		BIOS:       filepath.Join(dir, "usr", "share", "ovmf", "OVMF.fd"),
		NetworkEFI: filepath.Join(dir, "usr", "lib", "ipxe", "snponly.efi"),
	}, nil
}

// DebianStub unpacks systemd's stub of unified kernel images, and returns its file. Options are as for DebianFirmware.
func DebianStub(ctx context.Context, o Options) (string, error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	dir, err := d.packages(ctx, "stub", firmwareRelease, func(*apt.Private) ([]string, error) {
		return []string{"systemd-boot-efi"}, nil
	})
	return filepath.Join(dir, "usr", "lib", "systemd", "boot", "efi", "linuxx64.efi.stub"), err
}
