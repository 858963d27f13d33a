package reports

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/netfwd"
)

// reader is who reads: he stops it when he has read some lines.
type reader struct {
	strings.Builder
	lines int
	stop  func()
}

func (r *reader) Write(b []byte) (int, error) {
	r.Builder.Write(b)
	if strings.Count(r.String(), "\n") >= r.lines {
		r.stop()
	}
	return len(b), nil
}

func read(t *testing.T, args ...string) *Reports {
	t.Helper()
	r, fs := &Reports{}, cli.NewFlags("program")
	r.Flags(fs, "")
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return r
}

// Each interval there is a report, as lines of JSON or as tables of rates; at the end there are totals.
func TestReports(t *testing.T) {
	packets := uint64(0)
	collect := func() netfwd.Stats {
		packets += 10
		return netfwd.Stats{Time: time.Unix(int64(packets), 0), Ports: []netfwd.PortStats{{Name: "a", RxPackets: packets}}}
	}
	for _, args := range [][]string{{"--stats=1ms", "--stats-json"}, {"--stats=1ms"}} {
		r := read(t, args...)
		ctx, cancel := context.WithCancel(t.Context())
		out := &reader{lines: 6, stop: cancel}
		if err := r.Run(ctx, collect, out); err != nil {
			t.Fatal(err)
		}
		first := out.String()
		out.Reset()
		if err := r.Last(collect(), out); err != nil {
			t.Fatal(err)
		}
		if !r.JSON {
			if !strings.Contains(first, "rx pps") || !strings.Contains(out.String(), "rx packets") || !strings.Contains(out.String(), strconv.FormatUint(packets, 10)) {
				t.Errorf("%q: %s\n%s", args, first, out)
			}
			continue
		}
		for line := range strings.Lines(first + out.String()) {
			var s netfwd.Stats
			if err := json.Unmarshal([]byte(line), &s); err != nil || len(s.Ports) != 1 {
				t.Errorf("%q: %v, %v", line, s, err)
			}
		}
		if !strings.Contains(out.String(), strconv.FormatUint(packets, 10)) {
			t.Errorf("%q: no totals in %s", args, out)
		}
	}
}

// Without an interval there is one report, which is the last one.
func TestNoInterval(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := read(t).Run(ctx, func() netfwd.Stats { t.Error("asked"); return netfwd.Stats{} }, nil); err != nil {
		t.Error(err)
	}
	if err := read(t, "--stats=-1s").Check(); err == nil {
		t.Error("an interval below 0 is taken")
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// Who cannot be told ends it.
func TestNoOneToTell(t *testing.T) {
	r := read(t, "--stats=1ms")
	if err := r.Run(t.Context(), func() netfwd.Stats { return netfwd.Stats{Time: time.Now()} }, broken{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}
