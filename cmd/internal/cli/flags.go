package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
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
		return Usagef("%s; see --help", inOurWords(f, err))
	case f.NArg() > 0:
		return Usagef("unexpected argument %q; see --help", f.Arg(0))
	}
	return nil
}

// Package flag's words for what it does not take. It has no types for them.
var (
	flagUnknown = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	flagAlone   = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	flagInvalid = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^ :]+): (.*)$`)
)

// inOurWords names flags as help does, and says what they take where package flag says "parse
// error" only.
func inOurWords(f *flag.FlagSet, err error) string {
	text := err.Error()
	if m := flagUnknown.FindStringSubmatch(text); m != nil {
		return "there is no flag --" + m[1]
	}
	if m := flagAlone.FindStringSubmatch(text); m != nil {
		return "--" + m[1] + " needs a value"
	}
	m := flagInvalid.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	value, name, reason := m[1], m[2], m[3]
	if reason == "parse error" || reason == "value out of range" {
		reason = wanted(f.Lookup(name))
	}
	return fmt.Sprintf("--%s %s: %s", name, value, reason)
}

// wanted says what a flag of one of package flag's own types takes.
func wanted(f *flag.Flag) string {
	value, _ := f.Value.(flag.Getter)
	if value == nil {
		return "not understood"
	}
	switch value.Get().(type) {
	case time.Duration:
		return "want a time such as 500us, 1s or 5m"
	case bool:
		return "want true or false"
	case float64:
		return "want a number"
	}
	return "want a whole number"
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
