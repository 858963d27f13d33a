package tools

import (
	"context"
	"fmt"
	"path/filepath"

	"vvufwd/cmd/internal/lab/apt"
)

// emulatorRelease is the Debian release whose emulator of other processors is used.
const emulatorRelease = "bookworm"

// DebianEmulator unpacks QEMU's emulator of programs for another processor, "aarch64" for one, and returns what has to stand before
// such a program. Of the options only BuildDir and Progress are looked at. What an earlier call unpacked is used as it is.
func DebianEmulator(ctx context.Context, o Options, processor string) ([]string, error) {
	unlock, err := lock(ctx, o.BuildDir, o.Progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d := debian{dir: o.BuildDir, progress: o.Progress}
	dir, err := filepath.Abs(d.path("qemu-user"))
	if err != nil {
		return nil, err
	}
	if _, complete := apt.Unpacked(dir); !complete {
		if err := d.fetchClosure(ctx, dir, emulatorRelease, "QEMU's emulator of other processors", "qemu-user"); err != nil {
			return nil, fmt.Errorf("fetch an emulator of %s: %w", processor, err)
		}
	}
	return unpackedCommand(dir, "qemu-"+processor), nil
}
