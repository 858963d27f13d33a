package show

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress prints timed lines. Safe for concurrent use.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	begin time.Time
}

func (p *progress) say(subject, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "[%6.1f s] %-10s %s\n", time.Since(p.begin).Seconds(), subject, fmt.Sprintf(format, args...))
}
