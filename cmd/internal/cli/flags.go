package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Help is what --help prints besides the flags.
type Help struct {
	Usage string // one or more command lines
	About string // what the program does, above the flags; may be empty
	Notes string // below the flags; may be empty
}

// NewFlags makes the flags of a program. They are for Parse, and print nothing themselves.
func NewFlags(program string) *flag.FlagSet {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// Parse reads a command line that has flags and nothing else. If they ask for help it
// prints that to out and returns flag.ErrHelp; any other error is a UsageError.
func Parse(f *flag.FlagSet, args []string, out io.Writer, help Help) error {
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		help.print(f, out)
		return err
	case err != nil:
		return Usagef("%w; see --help", err)
	case f.NArg() > 0:
		return Usagef("unexpected argument %q; see --help", f.Arg(0))
	}
	return nil
}

func (h Help) print(f *flag.FlagSet, w io.Writer) {
	if h.About != "" {
		fmt.Fprintf(w, "%s\n\n", h.About)
	}
	fmt.Fprintf(w, "Usage: %s\n\n", strings.ReplaceAll(h.Usage, "\n", "\n       "))
	f.VisitAll(func(f *flag.Flag) {
		name, usage := flag.UnquoteUsage(f)
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  --%s %s", f.Name, name), " "))
		fmt.Fprintf(w, "        %s", usage)
		if !slices.Contains([]string{"", "false", "0", "0s"}, f.DefValue) && !strings.Contains(usage, "(default") {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
	if h.Notes != "" {
		fmt.Fprintf(w, "\n%s\n", h.Notes)
	}
}
