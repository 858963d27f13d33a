package manual

import (
	"fmt"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"

	"vvufwd/cmd/internal/cli"
)

// Program is the page of a program. dir has its main package.
func Program(d cli.Description, dir string, of Edition) (Page, error) {
	text, err := mainComment(dir)
	if err != nil {
		return Page{}, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# NAME\n\n%s - %s\n\n# SYNOPSIS\n\n", d.Program, escape(summary(text, d.Program)))
	for _, line := range d.Usage {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	fmt.Fprintf(&b, "    %s completion %s\n\n# DESCRIPTION\n\n%s\n# OPTIONS\n\n", d.Program, strings.Join(cli.Shells(), "|"), description(text))
	for _, f := range d.Flags {
		fmt.Fprintf(&b, "**%s**", escape(f.Dashed()))
		if f.Value != "" {
			fmt.Fprintf(&b, " *%s*", escape(f.Value))
		}
		fmt.Fprintf(&b, "\n:   %s\n\n", escape(strings.Join(strings.Fields(f.Text()), " ")))
	}
	b.WriteString("**\\-\\-help**\n:   print the flags in short\n\n")
	if d.Notes != "" {
		fmt.Fprintf(&b, "# NOTES\n\n%s\n\n", escape(d.Notes))
	}
	b.WriteString("# SEE ALSO\n\n" + seeAlso(d.Program, of) + "\n")
	return of.page(d.Program, 1, b.String()), nil
}

// seeAlso are the other programs and all topics.
func seeAlso(program string, of Edition) string {
	var others []string
	for _, p := range of.Programs {
		if p != program {
			others = append(others, fmt.Sprintf("**%s**(1)", p))
		}
	}
	for _, t := range of.Topics {
		others = append(others, fmt.Sprintf("**%s**(7)", topicPage(t)))
	}
	slices.Sort(others)
	return strings.Join(others, ", ")
}

// mainComment is the comment of a main package, which describes the program.
func mainComment(dir string) (*comment.Doc, error) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "main.go"), nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		return nil, err
	}
	return (&comment.Parser{}).Parse(file.Doc.Text()), nil
}

// summary is what the first sentence says that the program does.
func summary(doc *comment.Doc, program string) string {
	if len(doc.Content) == 0 {
		return program
	}
	text := plain(doc.Content[0])
	sentence, _, _ := strings.Cut(text+" ", ". ")
	sentence = strings.TrimSuffix(strings.TrimSpace(sentence), ".")
	if first, rest, ok := strings.Cut(sentence, " "); ok && strings.EqualFold(first, program) {
		return rest
	}
	return sentence
}

// description is the comment as Markdown, without what the page has from the program itself.
func description(doc *comment.Doc) string {
	own := []string{"Synopsis:", "Description:", "Flags:"}
	kept := &comment.Doc{Links: doc.Links}
	for i := 0; i < len(doc.Content); i++ {
		at := slices.Index(own, plain(doc.Content[i]))
		if at < 0 {
			kept.Content = append(kept.Content, doc.Content[i])
			continue
		}
		if i+1 < len(doc.Content) && own[at] != "Description:" {
			if _, code := doc.Content[i+1].(*comment.Code); code {
				i++
			}
		}
	}
	return string((&comment.Printer{HeadingLevel: 2, HeadingID: func(*comment.Heading) string { return "" }}).Markdown(kept))
}

// plain is the text of a block in one line.
func plain(block comment.Block) string {
	text := (&comment.Printer{TextWidth: -1}).Text(&comment.Doc{Content: []comment.Block{block}})
	return strings.Join(strings.Fields(string(text)), " ")
}
