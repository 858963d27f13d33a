package cli

import (
	"strings"
	"unicode"
)

// Printable is a text that commands no terminal: only newlines are kept of what is not printed, and other white space is a blank. Names
// of files and what another program has sent may have anything in them.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return unicode.ReplacementChar
	}, text)
}
