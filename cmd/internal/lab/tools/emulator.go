package tools

import "context"

// emulatorRelease is the Debian release whose emulator of other processors is used.
const emulatorRelease = "bookworm"

// DebianEmulator unpacks QEMU's emulator of programs for another processor, "aarch64" for one, and returns what has to stand before
// such a program. Of the options only BuildDir and Progress are looked at. What an earlier call unpacked is used as it is.
func DebianEmulator(ctx context.Context, o Options, processor string) ([]string, error) {
	dir, err := unpackedClosure(ctx, o, "qemu-user", emulatorRelease, "QEMU's emulator of other processors", "qemu-user")
	if err != nil {
		return nil, err
	}
	return unpackedCommand(dir, "qemu-"+processor), nil
}
