package shell

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A shell reads back what was written.
func TestCommand(t *testing.T) {
	argv := []string{"printf", `%s\000`, "--plain=a,b:c/d", "two words", "it's", "", "$HOME `x` \\ \"", "*", "-append", "a -- b", strings.Repeat("long", 20), "line\nbreak", "ä", "~"}
	text := Command([]string{"A=x y", "B="}, argv)
	out, err := exec.Command("sh", "-c", text+"\n"+"A='x y' printf %s end").Output()
	got := strings.Split(string(out), "\x00")
	if want := append(argv[2:len(argv):len(argv)], "end"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q (%v), want %q, of\n%s", got, err, want, text)
	}
	out, err = exec.Command("sh", "-c", Command([]string{"A=x y", "B="}, []string{"sh", "-c", `echo "$A,${B-unset}"`})).Output()
	if err != nil || string(out) != "x y,\n" {
		t.Errorf("environment: %q, %v", out, err)
	}
	if got := Command(nil, []string{"rm", "-r", "x"}); got != "rm -r x" {
		t.Errorf("%q", got)
	}
	if !strings.Contains(text, " \\\n  -append 'a -- b'") {
		t.Errorf("options have no lines of their own:\n%s", text)
	}
}
