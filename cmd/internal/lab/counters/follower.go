package counters

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"
)

// overdue is when to give up waiting for statistics: much longer than any interval at which they are asked for.
const overdue = time.Minute

// Follower keeps the newest statistics out of a stream of lines. Safe for concurrent use.
type Follower struct {
	mu      sync.Mutex
	latest  Sample
	count   int
	changed chan struct{} // closed and replaced with each sample
}

// NewFollower returns a Follower that has seen no line yet.
func NewFollower() *Follower { return &Follower{changed: make(chan struct{})} }

// Feed looks at one line. Other lines than statistics are passed over.
func (f *Follower) Feed(line string) {
	start := strings.Index(line, `{"time":`)
	if start < 0 {
		return
	}
	var s Sample
	if err := json.Unmarshal([]byte(line[start:]), &s); err != nil || len(s.Ports) == 0 {
		return // a line that the kernel wrote into; the next one is whole
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest = s
	f.count++
	close(f.changed)
	f.changed = make(chan struct{})
}

// Last returns the newest statistics, which are empty before the first.
func (f *Follower) Last() Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest
}

// Now returns statistics that were collected after the call: the second sample from now, because the first may have been
// on its way already.
func (f *Follower) Now(ctx context.Context) (Sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, overdue, errors.New("vvufwd prints no statistics"))
	defer cancel()
	f.mu.Lock()
	wanted := f.count + 2
	for f.count < wanted {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Sample{}, context.Cause(ctx)
		}
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	return f.latest, nil
}
