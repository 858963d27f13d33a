package cli

import (
	"io"
	"testing"
)

// A flag that names something is refused when it names another one, and any other can be overridden.
func TestOnce(t *testing.T) {
	parse := func(args ...string) (file string, count int, err error) {
		f := NewFlags("prog")
		f.StringVar(&file, "file", "", "`FILE` to read")
		f.IntVar(&count, "count", 7, "read `N`")
		Once(f, "file")
		return file, count, Parse(f, args, io.Discard, Help{})
	}
	if file, count, err := parse("--file", "a", "--count", "1", "--count=2"); err != nil || file != "a" || count != 2 {
		t.Errorf("%q, %d, %v", file, count, err)
	}
	for _, args := range [][]string{{"--file", "a", "--file", "b"}, {"--file=a", "--file=b"}} {
		if _, _, err := parse(args...); !IsUsage(err) || err.Error() != `--file "b": it is given twice, first as a; see --help` {
			t.Errorf("%q: %v", args, err)
		}
	}
}
