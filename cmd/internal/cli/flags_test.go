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
		f.Func("even", "`N`", func(string) error { return errors.New("not even") })
		f.Duration("wait", time.Second, "`TIME` to wait (default: a moment)")
		var b strings.Builder
		err = Parse(f, args, &b, help)
		return file, b.String(), err
	}
	if file, out, err := parse("--file", "x"); err != nil || file != "x" || out != "" {
		t.Errorf("%q, %q, %v", file, out, err)
	}
	for _, tt := range []struct{ args, want string }{
		{"--fail", "there is no flag --fail; see --help"},
		{"--file", "--file needs a value; see --help"},
		{"--count many", `--count "many": want a whole number; see --help`},
		{"--count 99999999999999999999", `--count "99999999999999999999": want a whole number; see --help`},
		{"--all=perhaps", `--all "perhaps": want true or false; see --help`},
		{"--wait 5", `--wait "5": want a time such as 500us, 1s or 5m; see --help`},
		{"--even 3", `--even "3": not even; see --help`},
		{"--all more", `unexpected argument "more": --all takes no value; see --help`},
		{"--all --wait 5s more", `unexpected argument "more"; see --help`},
		{"more", `unexpected argument "more"; see --help`},
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
  --even N
        N
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
