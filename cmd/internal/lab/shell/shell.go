// Package shell writes commands as a person types them into a shell.
package shell

import "strings"

// longest is how long a command in one line may be.
const longest = 100

// Command writes a command with what is added to its environment, with a line for each of its options if it is long.
func Command(env, argv []string) string {
	if text := command(env, argv, " "); len(text) <= longest {
		return text
	}
	return command(env, argv, " \\\n  ")
}

func command(env, argv []string, beforeOption string) string {
	var text strings.Builder
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		text.WriteString(name + "=" + Quote(value) + " ")
	}
	for i, word := range argv {
		switch {
		case i == 0:
		case strings.HasPrefix(word, "-"):
			text.WriteString(beforeOption)
		default:
			text.WriteString(" ")
		}
		text.WriteString(Quote(word))
	}
	return text.String()
}

// Quote makes a word of a shell's of any text.
func Quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./:,+@%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
