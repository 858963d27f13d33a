package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
)

const (
	// keptLines bounds how many lines a Console remembers, so that a child that prints for ever needs no more memory.
	keptLines = 4096
	// maxLine bounds one line in bytes. What is longer is cut into several.
	maxLine = 64 << 10
)

// ErrConsoleClosed is returned by Wait when no further line can come.
var ErrConsoleClosed = errors.New("the console is closed")

// Console gathers the lines that a child prints. Safe for concurrent use.
type Console struct {
	// onLine is called with each line, in order, one at a time. It must not block.
	onLine func(line string)

	mu      sync.Mutex
	lines   []string      // the newest lines
	first   int           // number of lines[0], counted from the child's start
	changed chan struct{} // closed, and replaced, whenever a line comes or the console closes
	closed  bool
}

func newConsole(onLine func(string)) *Console {
	if onLine == nil {
		onLine = func(string) {}
	}
	return &Console{onLine: onLine, changed: make(chan struct{})}
}

// Mark returns the number of the next line: a starting point for Wait.
func (c *Console) Mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first + len(c.lines)
}

// Wait returns the first line from number mark on that match accepts, and the number of the line after it. It returns
// ErrConsoleClosed when the child closed its output before such a line, and ctx's cause when ctx ends.
func (c *Console) Wait(ctx context.Context, mark int, match func(line string) bool) (line string, next int, err error) {
	for {
		c.mu.Lock()
		mark = max(mark, c.first)
		for mark < c.first+len(c.lines) {
			line := c.lines[mark-c.first]
			mark++
			if match(line) {
				c.mu.Unlock()
				return line, mark, nil
			}
		}
		closed, changed := c.closed, c.changed
		c.mu.Unlock()
		if closed {
			return "", mark, ErrConsoleClosed
		}
		select {
		case <-ctx.Done():
			return "", mark, context.Cause(ctx)
		case <-changed:
		}
	}
}

// Tail returns the last n lines, or fewer.
func (c *Console) Tail(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.lines[max(0, len(c.lines)-n):]...)
}

func (c *Console) add(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onLine(line)
	if len(c.lines) == keptLines {
		// Drop a quarter at once: moving all lines for each new one would cost too much.
		c.lines = append(c.lines[:0], c.lines[keptLines/4:]...)
		c.first += keptLines / 4
	}
	c.lines = append(c.lines, line)
	c.wake()
}

func (c *Console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wake()
}

// wake tells all waiters to look again. c.mu must be held.
func (c *Console) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// readLines feeds the console from r until it ends. A last line without a newline counts. Carriage returns and terminal
// control sequences, which firmware and shells print, are removed.
func (c *Console) readLines(r io.Reader) {
	var (
		pending []byte
		chunk   [4096]byte
	)
	for {
		n, err := r.Read(chunk[:])
		pending = append(pending, chunk[:n]...)
		for {
			end, skip := bytes.IndexByte(pending, '\n'), 1
			if end > maxLine || end < 0 && len(pending) >= maxLine {
				end, skip = maxLine, 0
			}
			if end < 0 {
				break
			}
			c.add(plain(pending[:end]))
			pending = pending[end+skip:]
		}
		if err != nil {
			if len(pending) > 0 {
				c.add(plain(pending))
			}
			return
		}
	}
}

// plain removes escape sequences (ESC [ ... letter, ESC letter) and control characters other than the tab.
func plain(raw []byte) string {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		switch ch := raw[i]; {
		case ch == 0x1b && i+1 < len(raw) && raw[i+1] == '[':
			for i += 2; i < len(raw) && (raw[i] < '@' || raw[i] > '~'); i++ {
			}
		case ch == 0x1b:
			i++
		case ch < ' ' && ch != '\t':
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}
