package main

import (
	"bytes"
	"errors"
	"flag"
	"regexp"
	"strings"
	"testing"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/vvufwd/help"
)

// The topic about flags has all that --help has, and --help all that the topic has.
func TestHelpHasEveryFlag(t *testing.T) {
	var usage bytes.Buffer
	if _, err := parseFlags([]string{"--help"}, false, &usage); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`(?m)^  (--[a-z-]+)`).FindAllStringSubmatch(usage.String(), -1)
	if len(flags) < 20 {
		t.Fatalf("only %d flags in\n%s", len(flags), &usage)
	}
	text := help.Text("flags")
	known := map[string]bool{"--help": true}
	for _, f := range append(flags, []string{"", "--help"}) {
		known[f[1]] = true
		if !regexp.MustCompile(`(?m)^ .*` + f[1] + `( |$)`).MatchString(text) {
			t.Errorf("topic flags does not have %s", f[1])
		}
	}
	for _, f := range regexp.MustCompile(`(?m)^    .*`).FindAllString(text, -1) {
		for _, name := range regexp.MustCompile(`--[a-z-]+`).FindAllString(f, -1) {
			if !known[name] {
				t.Errorf("--help does not have %s, which is in topic flags", name)
			}
		}
	}
}

// The command prints topics, and names them if there is no such topic. Errors command no terminal.
func TestHelpCommand(t *testing.T) {
	for _, tt := range []struct {
		args        []string
		code        int
		out, errors string
	}{
		{[]string{"help"}, cli.Done, "statistics", ""},
		{[]string{"help", "flags"}, cli.Done, "--follow-link", ""},
		{[]string{"help", "nosuch"}, cli.Misused, "", "vvufwd: help: there is no topic \"nosuch\", want one of captures, code, "},
		{[]string{"--\x1b[2J"}, cli.Misused, "", "vvufwd: there is no flag --\uFFFD[2J; "}, // what commands a terminal is not passed on
	} {
		var out, errs bytes.Buffer
		code := run(append([]string{"vvufwd"}, tt.args...), &out, &errs)
		if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.HasPrefix(errs.String(), tt.errors) || (tt.errors == "") != (errs.Len() == 0) {
			t.Errorf("%q: exit code %d, output %q, errors %q", tt.args, code, &out, &errs)
		}
	}
}
