package cli

import (
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestOutput(t *testing.T) {
	good := &Output{Writer: &strings.Builder{}}
	io.WriteString(good, "text")
	for _, err := range []error{nil, flag.ErrHelp, fs.ErrInvalid} {
		if got := good.Or(err); got != err {
			t.Errorf("all was written, and %v became %v", err, got)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	bad := &Output{Writer: full}
	io.WriteString(bad, "text")
	for _, err := range []error{nil, flag.ErrHelp} {
		if got := bad.Or(err); ExitCode(got) != Failed || !strings.Contains(got.Error(), "no space left") {
			t.Errorf("nothing was written, and %v became %v", err, got)
		}
	}
	if got := bad.Or(fs.ErrInvalid); !errors.Is(got, fs.ErrInvalid) {
		t.Errorf("an error became %v", got)
	}
}
