package manual

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

// Edition is what all pages of a release have in common.
type Edition struct {
	Version  string
	Date     time.Time
	Programs []string
	Topics   []string
}

// Page is one page.
type Page struct {
	Name    string // "vvufwd"
	Section int
	Roff    []byte
}

// File is the name of its file: "vvufwd.1".
func (p Page) File() string { return fmt.Sprintf("%s.%d", p.Name, p.Section) }

// page makes a page of Markdown.
func (e Edition) page(name string, section int, text string) Page {
	manual := map[int]string{1: "User Commands", 7: "vvufwd"}[section]
	head := fmt.Sprintf("%% %q %q %q %q %q\n\n", strings.ToUpper(name), fmt.Sprint(section), e.Date.UTC().Format("2006-01-02"), "vvufwd "+e.Version, manual)
	return Page{Name: name, Section: section, Roff: tidy(md2man.Render([]byte(head + text)))}
}

// What md2man writes and neither groff nor mandoc wants.
var (
	emptyParagraph = regexp.MustCompile(`(?m)^\.PP\n(\.(?:SH|SS|RS|TP|PP|TS)\b)`)
	firstParagraph = regexp.MustCompile(`(?m)(^\.(?:SH|SS) .*\n)\.PP\n`)
)

// tidy removes blank lines, which roff has requests for, keeps those of examples, and indents examples.
func tidy(roff []byte) []byte {
	var b bytes.Buffer
	example, blank := false, false
	for line := range strings.Lines(string(roff)) {
		line = strings.TrimRight(line, " \t\n")
		switch {
		case line == "":
			blank = example
			continue
		case line == ".EX":
			example = true
			line = ".PP\n.RS 4\n.EX"
		case line == ".EE":
			example, blank = false, false
			line = ".EE\n.RE"
		case blank:
			blank = false
			b.WriteString(".sp\n")
		}
		b.WriteString(line + "\n")
	}
	text := firstParagraph.ReplaceAll(b.Bytes(), []byte("$1"))
	return emptyParagraph.ReplaceAll(text, []byte("$1"))
}

// special are the characters that Markdown takes for its own.
var special = regexp.MustCompile("[\\\\`*_{}\\[\\]<>#+!|~-]")

// escape makes Markdown of plain text.
func escape(text string) string { return special.ReplaceAllString(text, `\$0`) }
