// Package help has the reference of vvufwd and of its companions: Markdown files, one for each
// topic, which "vvufwd help TOPIC" prints and README.md links to. What vvufwd counts, and the
// flags that it has, are told there in full; tests compare them with the code.
package help

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"vvufwd/cmd/internal/cli"
)

//go:embed *.md
var files embed.FS

// suffix is that of a topic's file.
const suffix = ".md"

// Topics are the names of all topics, sorted.
func Topics() []string {
	entries, _ := files.ReadDir(".") // an embedded directory can be read
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), suffix))
	}
	return names
}

// Text is the text of a topic, as Markdown. Its first line is a heading that says what the topic
// is about. It is empty if there is no such topic.
func Text(topic string) string {
	if !slices.Contains(Topics(), topic) {
		return ""
	}
	text, _ := files.ReadFile(topic + suffix)
	return string(text)
}

// Title says in a line what a topic is about.
func Title(topic string) string {
	heading, _, _ := strings.Cut(Text(topic), "\n")
	return strings.TrimPrefix(heading, "# ")
}

// Run is "vvufwd help": without arguments it prints all topics with a line for each, with one
// the text of that topic. Any other arguments are a UsageError that names the topics.
func Run(args []string, out io.Writer) error {
	switch {
	case len(args) == 0:
		return list(out)
	case len(args) > 1:
		return cli.Usagef("help: one topic at a time, one of %s", strings.Join(Topics(), ", "))
	case Text(args[0]) == "":
		return cli.Usagef("help: there is no topic %q, want one of %s", args[0], strings.Join(Topics(), ", "))
	}
	_, err := io.WriteString(out, Text(args[0]))
	return err
}

// list prints what topics there are.
func list(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Topics of \"vvufwd help TOPIC\"; \"vvufwd --help\" has the flags in short:\n\n")
	for _, topic := range Topics() {
		fmt.Fprintf(t, "  %s\t%s\n", topic, Title(topic))
	}
	return t.Flush()
}
