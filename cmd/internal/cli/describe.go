package cli

import (
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Description is all that a program says of its command line: what --help, its manual page and the
// completion of its arguments by a shell are made of. "PROGRAM --help=json" prints it.
type Description struct {
	Program string    `json:"program"`
	About   string    `json:"about,omitempty"`
	Usage   []string  `json:"usage"` // command lines
	Notes   string    `json:"notes,omitempty"`
	Flags   []Flag    `json:"flags"`
	Words   []Command `json:"words,omitempty"`
}

// Flag is one flag of a program.
type Flag struct {
	Name    string `json:"name"`              // without dashes
	Value   string `json:"value,omitempty"`   // what its value is called; empty: it takes none
	Usage   string `json:"usage"`             // what it is for
	Default string `json:"default,omitempty"` // of a value that is not nothing, unless Usage says it
	Alone   bool   `json:"alone,omitempty"`   // a value, if it has one, follows after "=" only
}

// Command is a word that may stand in place of flags, and what may follow it.
type Command struct {
	Name string   `json:"name"`
	Then []string `json:"then,omitempty"`

	Flags bool `json:"flags,omitempty"` // the program's flags may follow, too
}

// describeFlags gathers what a program says of itself.
func describeFlags(f *flag.FlagSet, help Help) Description {
	d := Description{Program: f.Name(), About: help.About, Usage: strings.Split(help.Usage, "\n"), Notes: help.Notes}
	f.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		one := Flag{Name: f.Name, Value: value, Usage: usage, Alone: Alone(f)}
		if !slices.Contains([]string{"", "false", "0", "0s"}, f.DefValue) && !strings.Contains(usage, "(default") {
			one.Default = f.DefValue
		}
		d.Flags = append(d.Flags, one)
	})
	d.Words = append(slices.Clone(help.Words), Command{Name: CompletionWord, Then: Shells()})
	return d
}

// Dashed is the flag as it is written: with two dashes, and with one if it is a letter.
func (f Flag) Dashed() string {
	if len(f.Name) == 1 {
		return "-" + f.Name
	}
	return "--" + f.Name
}

// Text is what the flag is for, with its default.
func (f Flag) Text() string {
	if f.Default == "" {
		return f.Usage
	}
	return fmt.Sprintf("%s (default %s)", f.Usage, f.Default)
}

var (
	inParentheses = regexp.MustCompile(` ?\([^()]*\)`)
	listOfWords   = regexp.MustCompile(`: ((?:[a-z0-9-]+, )*[a-z0-9-]+),? or ([a-z0-9-]+)(?:$|[;,])`)
)

// Choices are the words that the flag takes, if its text lists them: "FORM of the log: console or json".
func (f Flag) Choices() []string {
	m := listOfWords.FindStringSubmatch(inParentheses.ReplaceAllString(f.Usage, ""))
	if m == nil || f.Value == "" {
		return nil
	}
	return append(strings.Split(m[1], ", "), m[2])
}

// TakesFile reports whether the flag takes the name of a file, TakesDir whether that of a directory.
func (f Flag) TakesFile() bool {
	return slices.ContainsFunc([]string{"FILE", "PATH", "SOCKET", "PROGRAM"}, func(kind string) bool {
		return f.Value == kind || strings.HasPrefix(f.Value, kind+"[")
	})
}

func (f Flag) TakesDir() bool { return f.Value == "DIR" }

// Short says in a few words what the flag is for.
func (f Flag) Short() string {
	const most = 70
	text := inParentheses.ReplaceAllString(f.Usage, "")
	for _, end := range []string{"; ", ": "} {
		text, _, _ = strings.Cut(text, end)
	}
	if len(text) <= most {
		return text
	}
	return text[:strings.LastIndexByte(text[:most], ' ')] + " …"
}

// print writes what --help prints.
func (d Description) print(w io.Writer) {
	if d.About != "" {
		fmt.Fprintf(w, "%s\n\n", d.About)
	}
	fmt.Fprintf(w, "Usage: %s\n\n", strings.Join(d.Usage, "\n       "))
	for _, f := range d.Flags {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %s %s", f.Dashed(), f.Value), " "))
		fmt.Fprintf(w, "        %s\n", f.Text())
	}
	if d.Notes != "" {
		fmt.Fprintf(w, "\n%s\n", d.Notes)
	}
}
