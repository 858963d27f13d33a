// Emulator prints what runs a program for another processor here, for "go test -exec": QEMU from Debian's packages, which are fetched
// into build/ if they are not there.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/lab/tools"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: emulator PROCESSOR, in QEMU's words: aarch64")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	command, err := tools.DebianEmulator(ctx, tools.Options{
		BuildDir: filepath.Join(tools.SourceDir(), "build"),
		Progress: func(text string) { fmt.Fprintln(os.Stderr, text) },
	}, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "emulator:", err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(command, " "))
}
