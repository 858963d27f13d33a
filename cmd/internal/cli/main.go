package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Main is the main function of a program without devices: it runs until it is done or,
// SIGINT and SIGTERM ending its context, stopped, prints an error as one line, and returns
// the exit code.
func Main(program string, run func(ctx context.Context, args []string, out, progress io.Writer) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return Done
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	if IsUsage(err) {
		return Misused
	}
	return Failed
}
