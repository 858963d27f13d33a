package release

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"vvufwd/cmd/internal/cli"
)

// wrongInUnit compares a unit, and the example of its settings, with what its program says of itself.
func wrongInUnit(d cli.Description, unit, example string) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/(\S+) (.*)$`).FindStringSubmatch(unit)
	if start == nil || start[1] != d.Program {
		complain("the unit starts %q", start)
		return wrong
	}
	wrong = append(wrong, wrongFlags(d, start[2])...)
	if !strings.Contains(unit, "\nEnvironmentFile=/etc/vvufwd/"+d.Program+"-%i.conf\n") {
		complain("the unit has no file of settings")
	}
	variables := regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(start[2], -1)
	if len(variables) == 0 {
		complain("the unit takes no flags from its settings")
	}
	for _, v := range variables {
		value := regexp.MustCompile(`(?m)^` + v[1] + `=(.*)$`).FindStringSubmatch(example)
		if value == nil {
			complain("the example does not set %s", v[1])
			continue
		}
		wrong = append(wrong, wrongFlags(d, value[1])...)
	}
	return wrong
}

// wrongFlags finds flags on a command line that a program does not have, and those that lack their value.
func wrongFlags(d cli.Description, line string) (wrong []string) {
	flags := make(map[string]cli.Flag)
	for _, f := range d.Flags {
		flags[f.Dashed()] = f
	}
	words := strings.Fields(line)
	for i := 0; i < len(words); i++ {
		if words[i][0] == '$' {
			continue
		}
		name, _, joined := strings.Cut(words[i], "=")
		f, known := flags[name]
		switch {
		case !known:
			wrong = append(wrong, name+" is no flag")
		case f.Alone || joined:
		case i+1 == len(words) || strings.ContainsAny(words[i+1][:1], "-$"):
			wrong = append(wrong, name+" has no value")
		default:
			i++
		}
	}
	return wrong
}

// What is wrong in a unit is found.
func TestWrongInUnit(t *testing.T) {
	d := cli.Description{Program: "prog", Flags: []cli.Flag{{Name: "socket", Value: "PATH"}, {Name: "bind", Alone: true}, {Name: "size", Value: "N"}}}
	const unit = "[Service]\nEnvironmentFile=/etc/vvufwd/prog-%i.conf\nExecStart=/usr/bin/prog --socket %t/prog --bind $PROG_ARGS\n"
	const example = "# Flags.\nPROG_ARGS=--size=1 --bind --size 2\n"
	for _, tt := range []struct{ unit, example, want string }{
		{unit, example, ""},
		{strings.Replace(unit, "--socket", "--sokcet", 1), example, "--sokcet is no flag; %t/prog is no flag"},
		{strings.Replace(unit, "--bind", "--size", 1), example, "--size has no value"},
		{unit, "PROG_ARGS=--sise 2\n", "--sise is no flag; 2 is no flag"},
		{unit, "PROG_ARGS=--size\n", "--size has no value"},
		{unit, "PROG_ARG=--size 2\n", "the example does not set PROG_ARGS"},
		{strings.Replace(unit, " $PROG_ARGS", "", 1), example, "the unit takes no flags from its settings"},
		{strings.Replace(unit, "prog-%i", "other-%i", 1), example, "the unit has no file of settings"},
		{strings.Replace(unit, "bin/prog", "bin/other", 1), example, `the unit starts ["ExecStart=/usr/bin/other --socket %t/prog --bind $PROG_ARGS" "other" "--socket %t/prog --bind $PROG_ARGS"]`},
	} {
		if got := strings.Join(wrongInUnit(d, tt.unit, tt.example), "; "); got != tt.want {
			t.Errorf("%q, %q:\ngot  %s\nwant %s", tt.unit, tt.example, got, tt.want)
		}
	}
}
