package cli

import (
	"bytes"
	"errors"
	"testing"
)

// An error is a line, or several, and whatever it names commands no terminal.
func TestPrintError(t *testing.T) {
	for text, want := range map[string]string{
		"--kernel é 日: gone":        "prog: --kernel é 日: gone\n",
		"one\ntwo\n":                "prog: one\nprog: two\n",
		"\x1b[2Jall is well\r\t\a":  "prog: \uFFFD[2Jall is well  \uFFFD\n",
		"\u009b31m\u202e\x7f\xff\n": "prog: \uFFFD31m\uFFFD\uFFFD\uFFFD\n",
	} {
		var out bytes.Buffer
		if PrintError(&out, "prog", errors.New(text)); out.String() != want {
			t.Errorf("%q is printed as %q, want %q", text, &out, want)
		}
	}
}
