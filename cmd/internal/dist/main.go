// Dist makes what is released: archives of static programs with their manual pages, shells' completions and systemd units, an
// initramfs of a driver VM for kernels that have all built in, bills of materials, Debian packages, and checksums of all.
//
//	dist -man DIR -bin DIR COMMANDS…        manual pages, of programs that are built
//	dist -out DIR [-arch LIST] COMMANDS…    all
//
// The same commit gives the same bytes: programs are built without paths of this machine, and all times are that of the commit, or
// SOURCE_DATE_EPOCH's. The version is the one that the go command gives programs, which --version prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"vvufwd/cmd/internal/dist/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	man := flag.String("man", "", "write manual pages into `DIR`")
	bin := flag.String("bin", "build/bin", "`DIR` of the programs that manual pages are about")
	out := flag.String("out", "", "write a release into `DIR`, replacing what is there")
	arch := flag.String("arch", "amd64,arm64", "`LIST` of processors to release for")
	debs := flag.Bool("deb", false, "write Debian packages only")
	flag.Parse()
	r := release.Release{Source: ".", Commands: flag.Args(), Archs: strings.Split(*arch, ","), DebsOnly: *debs}
	switch {
	case len(r.Commands) == 0:
		return errors.New("which commands?")
	case *man != "":
		return r.Manual(ctx, *bin, *man)
	case *out != "":
		return r.Write(ctx, *out)
	}
	return errors.New("-man or -out is missing")
}
