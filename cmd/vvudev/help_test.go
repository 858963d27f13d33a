package main

import (
	"errors"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The list of flags in the package's documentation has all that --help has, and no other.
func TestHelpListsEveryFlag(t *testing.T) {
	var usage strings.Builder
	if _, err := parseOptions([]string{"--help"}, &usage); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	list := func(line, text string) (names []string) {
		for _, m := range regexp.MustCompile(line).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return names
	}
	helped, documented := list(`(?m)^  (--[a-z-]+)`, usage.String()), list(`(?m)^//\t(--[a-z-]+)`, string(source))
	if len(helped) < 15 || !slices.Equal(helped, documented) {
		t.Errorf("--help has %q, main.go %q", helped, documented)
	}
}
