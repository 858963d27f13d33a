// Stages runs stages of "make test" side by side, and says where the time goes.
//
//	stages [-logs DIR] [-noskip] LANE... [-- LANE...]...
//
// A lane is a list of targets of the Makefile, "lint unit race", that run one after the other; lanes run side by side. What comes
// after "--" begins when all before it is done. A stage that fails keeps no other from running, so that one run tells all that is
// wrong. What "go test" prints is kept whole in DIR/STAGE.log; shown are a line for each package and each long test, and, in the end,
// the output of what failed, what was skipped, and a table of the stages. With -noskip a test that was skipped has not passed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	logs := flag.String("logs", "build/stages", "directory for the whole output of each stage")
	noSkip := flag.Bool("noskip", false, "fail if a test was skipped, as for what a machine does not have")
	flag.Parse()
	rounds := parse(flag.Args())
	if len(rounds) == 0 {
		fmt.Fprintln(os.Stderr, "stages: name at least one target of the Makefile")
		os.Exit(2)
	}
	if err := os.MkdirAll(*logs, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "stages:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	r := &runner{logs: *logs, begun: time.Now(), screen: &screen{out: os.Stdout, begun: time.Now()}}
	for _, lanes := range rounds {
		r.round(ctx, lanes)
	}
	if !report(os.Stdout, r.results(), time.Since(r.begun), *noSkip) {
		os.Exit(1)
	}
}

// parse takes the command line apart into rounds of lanes of stages.
func parse(args []string) (rounds [][][]string) {
	for {
		end := slices.Index(args, "--")
		these := args
		if end >= 0 {
			these = args[:end]
		}
		var lanes [][]string
		for _, lane := range these {
			if stages := strings.Fields(lane); len(stages) > 0 {
				lanes = append(lanes, stages)
			}
		}
		if len(lanes) > 0 {
			rounds = append(rounds, lanes)
		}
		if end < 0 {
			return rounds
		}
		args = args[end+1:]
	}
}

// runner runs stages and keeps what became of them.
type runner struct {
	logs   string
	begun  time.Time
	screen *screen

	mu   sync.Mutex
	done []*result
}

// round runs lanes side by side until all are done.
func (r *runner) round(ctx context.Context, lanes [][]string) {
	var running sync.WaitGroup
	for _, stages := range lanes {
		running.Go(func() {
			for _, name := range stages {
				res := r.run(ctx, name)
				r.mu.Lock()
				r.done = append(r.done, res)
				r.mu.Unlock()
			}
		})
	}
	running.Wait()
}

// results are those of all stages, in the order in which they began.
func (r *runner) results() []*result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(slices.Values(r.done), func(a, b *result) int { return a.begun.Compare(b.begun) })
}
