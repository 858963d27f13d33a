// Package reports prints the statistics of programs that forward: --stats and --stats-json.
package reports

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"vvufwd/cmd/internal/cli"
	"vvufwd/netfwd"
)

// Reports say when to print, and in which form.
type Reports struct {
	Every time.Duration // 0: once, at the end
	JSON  bool          // lines of JSON with totals; else tables, with rates until the end
}

// Flags adds the flags. Each begins its help with what only says.
func (r *Reports) Flags(fs *flag.FlagSet, only string) {
	fs.DurationVar(&r.Every, "stats", 0, only+"print rates each `INTERVAL` to standard output, such as 1s; 0: only totals at the end")
	fs.BoolVar(&r.JSON, "stats-json", false, only+"print statistics as JSON lines with totals instead of a table")
}

// Check finds what the flags do not take.
func (r *Reports) Check() error {
	if r.Every < 0 {
		return cli.Usagef("--stats %s: want a positive interval", r.Every)
	}
	return nil
}

// Run prints what collect returns each interval until ctx is done.
func (r *Reports) Run(ctx context.Context, collect func() netfwd.Stats, out io.Writer) error {
	if r.Every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	var rates netfwd.Rates
	if !r.JSON {
		if err := written(rates.Write(out, collect())); err != nil { // which are since then
			return err
		}
	}
	for {
		select {
		case <-tick.C:
			now := collect()
			var err error
			if r.JSON {
				err = now.WriteJSON(out)
			} else {
				err = rates.Write(out, now)
			}
			if err != nil {
				return written(err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Last prints totals, at the end.
func (r *Reports) Last(s netfwd.Stats, out io.Writer) error {
	if r.JSON {
		return written(s.WriteJSON(out))
	}
	return written(s.WriteTable(out))
}

// written says what an error is of.
func written(err error) error {
	if err != nil {
		return fmt.Errorf("write statistics: %w", err)
	}
	return nil
}
