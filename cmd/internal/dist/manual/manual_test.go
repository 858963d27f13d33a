package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/cli"
)

var edition = Edition{Version: "v1.2.3", Date: time.Date(2026, 5, 4, 23, 0, 0, 0, time.UTC), Programs: []string{"prog", "other"}, Topics: []string{"switch"}}

const source = `// Prog does a thing, and another. It is small.
//
// Synopsis:
//
//	prog --file FILE
//
// Description:
//
// More of it:
//
//	first
//
//	.second
//
// Flags:
//
//	--file FILE  told twice
//
// Exit status: 0.
package main
`

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	d := cli.Description{Program: "prog", Usage: []string{"prog --file FILE [flags]"}, Notes: "It's *all*.", Flags: []cli.Flag{
		{Name: "file", Value: "FILE[:PATH]", Usage: "read a_b <c> and [d]", Default: "x"}, {Name: "o", Usage: "out"},
	}}
	p, err := Program(d, dir, edition)
	if err != nil || p.File() != "prog.1" {
		t.Fatalf("%s, %v", p.File(), err)
	}
	roff := string(p.Roff)
	for _, want := range []string{
		`.TH "PROG" "1" "2026-05-04" "vvufwd v1.2.3" "User Commands"`,
		".SH NAME\nprog \\- does a thing, and another\n", ".SH SYNOPSIS", "prog --file FILE [flags]\nprog completion bash|fish|zsh\n",
		".SH DESCRIPTION\nProg does", ".EX\nfirst\n.sp\n\\&.second\n.EE", "Exit status: 0.", "read a_b <c> and [d] (default x)",
		"\n.SH SEE ALSO\n\\fBother\\fP(1), \\fBvvufwd-switch\\fP(7)\n", "It's *all*",
	} {
		if !strings.Contains(roff, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, not := range []string{"told twice", "Synopsis:", "Description:", "\n\n"} {
		if strings.Contains(roff, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if t.Failed() {
		t.Log(roff)
	}
}

func TestTopic(t *testing.T) {
	long := strings.Repeat("long ", 20)
	p := Topic("vms", "# About VMs\n\nSee [the switch](switch.md#x) and [README](../README.md).\n\n## More\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n| why | what | how |\n|---|---|---|\n| `x\\|y` | "+long+"| z |\n", edition)
	roff := string(p.Roff)
	for _, want := range []string{"vvufwd-vms \\- About VMs\n", "See \\fBvvufwd-switch\\fP(7) and README.", ".SH More\n", ".TS\n", "x|y", "what: " + strings.TrimSpace(long) + "; how: z"} {
		if !strings.Contains(roff, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Count(roff, ".TS\n") != 1 || p.File() != "vvufwd-vms.7" {
		t.Errorf("%s", p.File())
	}
	if t.Failed() {
		t.Log(roff)
	}
}
