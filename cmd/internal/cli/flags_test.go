package cli

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	help := Help{Usage: "prog --file FILE [flags]\nprog --all [flags]", About: "prog does.", Notes: "That is all."}
	parse := func(args ...string) (file string, out string, err error) {
		f := NewFlags("prog")
		f.StringVar(&file, "file", "", "`FILE` to read")
		f.Bool("all", false, "read all")
		f.Int("count", 7, "read `N`")
		f.Duration("wait", time.Second, "`TIME` to wait (default: a moment)")
		var b strings.Builder
		err = Parse(f, args, &b, help)
		return file, b.String(), err
	}
	if file, out, err := parse("--file", "x"); err != nil || file != "x" || out != "" {
		t.Errorf("%q, %q, %v", file, out, err)
	}
	for _, tt := range []struct{ args, want string }{
		{"--fail", "flag provided but not defined: -fail; see --help"},
		{"--count many", `invalid value "many" for flag -count: parse error; see --help`},
		{"--all more", `unexpected argument "more"; see --help`},
	} {
		if _, out, err := parse(strings.Fields(tt.args)...); err == nil || !IsUsage(err) || err.Error() != tt.want || out != "" {
			t.Errorf("%s: %v and %q, want %s", tt.args, err, out, tt.want)
		}
	}
	want := `prog does.

Usage: prog --file FILE [flags]
       prog --all [flags]

  --all
        read all
  --count N
        read N (default 7)
  --file FILE
        FILE to read
  --wait TIME
        TIME to wait (default: a moment)

That is all.
`
	if _, out, err := parse("--help"); !errors.Is(err, flag.ErrHelp) || out != want {
		t.Errorf("%v and\n%s, want\n%s", err, out, want)
	}
}
