package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// Main is the main function of a program without devices: it runs until it is done or,
// SIGINT and SIGTERM ending its context, stopped, prints an error as one line, or one for each
// of several, and returns the exit code.
func Main(program string, run func(ctx context.Context, args []string, out, progress io.Writer) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	out := &Output{Writer: os.Stdout}
	err := out.Or(run(ctx, os.Args[1:], out, os.Stderr))
	code := ExitCode(err)
	if code != Done {
		PrintError(os.Stderr, program, err)
	}
	return code
}

// PrintError prints each line of an error with the program's name, made Printable.
func PrintError(w io.Writer, program string, err error) {
	for line := range strings.Lines(Printable(err.Error())) {
		fmt.Fprintf(w, "%s: %s\n", program, strings.TrimSuffix(line, "\n"))
	}
}
