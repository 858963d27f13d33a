package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Help is what --help prints besides the flags.
type Help struct {
	Usage string // one or more command lines
	About string // what the program does, above the flags; may be empty
	Notes string // below the flags; may be empty

	Words []Command // that may stand in place of flags, besides "completion"; the program sees to them itself
}

// NewFlags makes the flags of a program. They are for Parse, and print nothing themselves.
func NewFlags(program string) *flag.FlagSet {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// Parse reads a command line that has flags and nothing else. If they ask for help, or "completion SHELL"
// stands in their place, it prints that to out and returns flag.ErrHelp; any other error is a UsageError.
func Parse(f *flag.FlagSet, args []string, out io.Writer, help Help) error {
	switch asked, err := help.other(f, args, out); {
	case err != nil:
		return err
	case asked:
		return flag.ErrHelp
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		describeFlags(f, help).print(out)
		return err
	case err != nil:
		return Usagef("%s; see --help", inOurWords(f, err))
	case f.NArg() > 0:
		return Usagef("unexpected argument %q%s; see --help", f.Arg(0), afterSwitch(f, args[:len(args)-f.NArg()]))
	}
	return nil
}

// afterSwitch explains an argument that follows a flag without a value, as if it were one.
func afterSwitch(f *flag.FlagSet, args []string) string {
	if len(args) == 0 {
		return ""
	}
	name := strings.TrimPrefix(strings.TrimPrefix(args[len(args)-1], "-"), "-")
	if known := f.Lookup(name); known == nil || !Alone(known) {
		return ""
	}
	return ": " + Flag{Name: name}.Dashed() + " takes no value"
}

// Alone reports whether a flag stands without a value.
func Alone(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Given reports whether a command line, which was parsed, had a flag.
func Given(f *flag.FlagSet, name string) (given bool) {
	f.Visit(func(one *flag.Flag) { given = given || one.Name == name })
	return given
}

// other prints what a command line asks for that is not --help: --help=json and "completion SHELL".
func (h Help) other(f *flag.FlagSet, args []string, out io.Writer) (asked bool, err error) {
	switch {
	case len(args) == 1 && args[0] == "--help=json":
		return true, json.NewEncoder(out).Encode(describeFlags(f, h))
	case len(args) == 0 || args[0] != CompletionWord:
		return false, nil
	case len(args) != 2:
		return true, Usagef("%s: want one shell, one of %s", CompletionWord, strings.Join(Shells(), ", "))
	}
	return true, describeFlags(f, h).Complete(args[1], out)
}

// Package flag's words for what it does not take. It has no types for them.
var (
	flagUnknown = regexp.MustCompile(`^flag provided but not defined: -(.*)$`)
	flagAlone   = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	flagAgain   = regexp.MustCompile(`^invalid boolean flag ([^ :]+): (.*)$`)
	flagInvalid = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^ :]+): (.*)$`)
)

// inOurWords names flags as help does, and says what they take where package flag says "parse
// error" only.
func inOurWords(f *flag.FlagSet, err error) string {
	text := err.Error()
	if m := flagUnknown.FindStringSubmatch(text); m != nil {
		return "there is no flag " + Flag{Name: m[1]}.Dashed()
	}
	if m := flagAlone.FindStringSubmatch(text); m != nil {
		return Flag{Name: m[1]}.Dashed() + " needs a value"
	}
	if m := flagAgain.FindStringSubmatch(text); m != nil {
		return Flag{Name: m[1]}.Dashed() + ": " + m[2]
	}
	m := flagInvalid.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	value, name, reason := m[1], m[2], m[3]
	if reason == "parse error" || reason == "value out of range" {
		reason = wanted(f.Lookup(name))
	}
	return fmt.Sprintf("%s %s: %s", Flag{Name: name}.Dashed(), value, reason)
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
