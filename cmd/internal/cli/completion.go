package cli

import (
	"embed"
	"io"
	"slices"
	"strings"
	"text/template"
)

// CompletionWord, as the first argument, is the word that has any program print a shell's completion of its arguments:
// "PROGRAM completion bash".
const CompletionWord = "completion"

//go:embed completion.*
var completionFiles embed.FS

var completions = template.Must(template.New("").Funcs(template.FuncMap{
	"join": func(words []string) string { return strings.Join(words, " ") },
	// Descriptions within single quotes; zsh takes brackets and colons in them for its own.
	"zsh":  func(text string) string { return zshSpecial.Replace(text) },
	"fish": func(text string) string { return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) },
	"func": func(program string) string { return "_" + strings.ReplaceAll(program, "-", "_") },
}).ParseFS(completionFiles, "completion.*"))

var zshSpecial = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `:`, `\:`, `'`, `'\''`)

// Shells are those for which there is a completion.
func Shells() []string { return []string{"bash", "fish", "zsh"} }

// Complete writes a program's completion for a shell. An unknown shell is a UsageError.
func (d Description) Complete(shell string, w io.Writer) error {
	if !slices.Contains(Shells(), shell) {
		return Usagef("%s: there is no shell %q, want one of %s", CompletionWord, shell, strings.Join(Shells(), ", "))
	}
	return completions.ExecuteTemplate(w, CompletionWord+"."+shell, d)
}

// FlagWords are all flags as they are written, with --help.
func (d Description) FlagWords() []string {
	words := []string{"--help"}
	for _, f := range d.Flags {
		words = append(words, f.Dashed())
	}
	return words
}

// FirstWords are the words that may stand in place of flags.
func (d Description) FirstWords() (words []string) {
	for _, c := range d.Words {
		words = append(words, c.Name)
	}
	return words
}
