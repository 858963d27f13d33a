package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// parseSample is the command line of a program that has a flag of each kind.
func parseSample(args ...string) (string, error) {
	f := NewFlags("prog-x")
	f.String("file", "", "`FILE` to read")
	f.String("dir", "", "`DIR` to read")
	f.String("form", "json", "`FORM` of it: json, text (for people) or none (default json)")
	f.Int("count", 7, "read `N`, or: fewer; it's [up] to you")
	f.Bool("verbose", false, "say more")
	f.Bool("version", false, "print the version")
	f.Var(&optional{}, "json", "write JSON, or with --json=`FILE` into a file")
	f.String("o", "", "`FILE` to write")
	var out strings.Builder
	err := Parse(f, args, &out, Help{Usage: "prog-x [flags]", Words: []Command{{Name: "help", Then: []string{"one", "two"}}, {Name: "check", Then: []string{"init"}, Flags: true}}})
	return out.String(), err
}

// optional is a flag whose value may be left out.
type optional struct{}

func (optional) String() string   { return "" }
func (optional) Set(string) error { return nil }
func (optional) IsBoolFlag() bool { return true }

func TestCompletionIsPrinted(t *testing.T) {
	for _, shell := range Shells() {
		out, err := parseSample("completion", shell)
		if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out, "prog-x completion "+shell) {
			t.Errorf("%s: %v and\n%s", shell, err, out)
		}
	}
	for _, args := range [][]string{{"completion"}, {"completion", "ksh"}, {"completion", "bash", "zsh"}} {
		if out, err := parseSample(args...); !IsUsage(err) || out != "" || !strings.Contains(err.Error(), "one of bash, fish, zsh") {
			t.Errorf("%q: %v and %q", args, err, out)
		}
	}
	out, err := parseSample("--help=json")
	var d Description
	if !errors.Is(err, flag.ErrHelp) || json.Unmarshal([]byte(out), &d) != nil || d.Program != "prog-x" || len(d.Flags) != 8 {
		t.Errorf("%v and %s", err, out)
	}
}

// A bash that has read the completion completes with it as one types.
func TestBashCompletes(t *testing.T) {
	script, _ := parseSample("completion", "bash")
	dir := t.TempDir()
	for _, name := range []string{"one.txt", "two words.txt", "sub/x"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		words string // as bash parts them, by |; the last is at the cursor
		want  string
	}{
		{"--ver", "--verbose|--version"},
		{"--fi", "--file"},
		{"-", "--help|--count|--dir|--file|--form|--json|-o|--verbose|--version"},
		{"he", "help"},
		{"help|", "one|two"},
		{"help|one|", ""},
		{"check|i", "init"},
		{"check|--ver", "--verbose|--version"},
		{"check|init|--ver", "--verbose|--version"},
		{"check|--form|=|t", "text"},
		{"completion|z", "zsh"},
		{"--form|", "json|text|none"},
		{"--form|=|t", "text"},
		{"--form|=", "json|text|none"},
		{"--verbose|--d", "--dir"},
		{"--verbose|he", ""},
		{"--file|two", "two words.txt"},
		{"-o|o", "one.txt"},
		{"--dir|", "sub"},
		{"--count|", ""},
		{"--json|--ver", "--verbose|--version"},
	} {
		var words strings.Builder
		parts := strings.Split(tt.words, "|")
		for _, w := range parts {
			words.WriteString(" '" + w + "'")
		}
		bash := exec.Command("bash", "--norc", "-uc", script+"\n"+
			"COMP_WORDS=(prog-x"+words.String()+"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _prog_x; IFS='|'; echo -n \"${COMPREPLY[*]}\"")
		bash.Dir = dir
		out, err := bash.CombinedOutput()
		if got := string(out); err != nil || got != tt.want {
			t.Errorf("%s: %q (%v), want %q", tt.words, got, err, tt.want)
		}
	}
}

func TestWhatFlagsTake(t *testing.T) {
	for usage, want := range map[string][]string{
		"lowest LEVEL to log: debug, info, warn or error (default info)": {"debug", "info", "warn", "error"},
		"FORM of the log: console or json":                               {"console", "json"},
		"NIC: virtio-net, e1000e, igb, or igbvf (of an igb)":             {"virtio-net", "e1000e", "igb", "igbvf"},
		"IOMMU: intel, virtio or none; none is the default":              {"intel", "virtio", "none"},
		"PATH, such as a or b":                                           nil,
		"COMBINATIONS: all, pairs, or those that match a pattern":        nil,
	} {
		if got := (Flag{Value: "X", Usage: usage}).Choices(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", usage, got, want)
		}
	}
	for value, want := range map[string][2]bool{"FILE": {true, false}, "FILE[:PATH]": {true, false}, "DIR": {false, true}, "N": {}, "FILES": {}} {
		if f := (Flag{Value: value}); f.TakesFile() != want[0] || f.TakesDir() != want[1] {
			t.Errorf("%s: file %v, directory %v", value, f.TakesFile(), f.TakesDir())
		}
	}
	long := Flag{Usage: "keep (as it is) what " + strings.Repeat("word ", 30)}.Short()
	if short := (Flag{Usage: "refuse more (default 4); really: yes"}).Short(); short != "refuse more" || len(long) > 80 || !strings.HasSuffix(long, " …") {
		t.Errorf("%q and %q", short, long)
	}
}
