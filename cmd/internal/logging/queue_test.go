package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// gate is a reader who takes nothing before it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	got  bytes.Buffer
	err  error
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.got.Write(p)
}

func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

func (g *gate) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.String()
}

const patience = 10 * time.Second

// counted writes the number of lost writes among them.
func counted(q *Queue) {
	q.ReportLost(func(lost uint64, err error) bool {
		if err == nil {
			_, err = fmt.Fprintf(q.out, "lost %d\n", lost)
		}
		return err == nil
	})
}

// A queue of which no one takes anything keeps what it has room for, the oldest, counts
// the rest, and tells how many are missing where they are.
func TestQueueThatNoOneReads(t *testing.T) {
	g := newGate()
	q := NewQueue(g, 10*(eachWrite+8))
	counted(q)
	line := func(i int) string { return fmt.Sprintf("%07d\n", i) }
	io.WriteString(q, line(0))
	for taken := false; !taken; time.Sleep(time.Millisecond) { // the goroutine holds the first
		q.mu.Lock()
		taken = len(q.waiting) == 0
		q.mu.Unlock()
	}
	const writes = 1000
	for i := 1; i < writes; i++ {
		if n, err := io.WriteString(q, line(i)); n != 8 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if Flush(time.Millisecond, q) {
		t.Error("all was passed on to no one")
	}
	close(g.open)
	if !Flush(patience, q) {
		t.Fatal("not passed on")
	}
	io.WriteString(q, "later\n")
	if !Flush(patience, q) {
		t.Fatal("not passed on")
	}
	want := ""
	for i := range 11 {
		want += line(i)
	}
	want += fmt.Sprintf("lost %d\nlater\n", writes-11)
	if got := g.text(); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// A pipe that is full stops no one, and is written to again when it is read.
func TestQueueBeforeAFullPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q := NewQueue(w, 4096)
	log := New(q, JSON, zapcore.DebugLevel)
	entries := 0
	enter := func(n int) {
		for range n {
			log.Info("entry", zap.Int("i", entries))
			entries++
		}
	}
	for Flush(100*time.Millisecond, q) { // as long as the pipe takes it
		enter(20)
	}
	enter(1000)
	go func() {
		Flush(patience, q)
		w.Close()
	}()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	seen, last, lost := 0, -1, 0
	for line := range strings.Lines(string(all)) {
		var e struct {
			Level, Msg string
			I, Lines   int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Lines > 0 {
			lost += e.Lines
			last += e.Lines
			if e.Level != "warn" || !strings.Contains(e.Msg, "dropped") {
				t.Errorf("lost entries are told of as %q", line)
			}
			continue
		}
		if e.I != last+1 {
			t.Fatalf("entry %d follows %d, and %d were told to be lost", e.I, last, lost)
		}
		seen, last = seen+1, e.I
	}
	if lost == 0 || seen+lost != entries {
		t.Errorf("of %d entries %d came and %d were told to be lost", entries, seen, lost)
	}
}

// What out refuses is lost and counted; once it takes something again, that is told.
func TestQueueWhoseReaderIsGone(t *testing.T) {
	g := newGate()
	close(g.open)
	q := NewQueue(g, DefaultRoom)
	counted(q)
	g.fail(errors.New("broken pipe"))
	for range 3 {
		io.WriteString(q, "lost\n")
		if !Flush(patience, q) {
			t.Fatal("not passed on")
		}
	}
	g.fail(nil)
	io.WriteString(q, "back\n")
	if !Flush(patience, q) || g.text() != "back\nlost 3\n" {
		t.Errorf("%q", g.text())
	}
}

// Data that was lost is told of in the log, and once for a reader that is gone.
func TestDataThatNoOneReads(t *testing.T) {
	g := newGate()
	var told bytes.Buffer
	q := NewQueue(g, 1000)
	q.ReportIn(New(&told, JSON, zapcore.InfoLevel), "statistics")
	for range 100 {
		fmt.Fprintln(q, strings.Repeat("x", 99))
	}
	close(g.open)
	Flush(patience, q)
	lost := 0
	for line := range strings.Lines(told.String()) {
		var e struct {
			What    string
			Records int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.What != "statistics" || e.Records == 0 {
			t.Errorf("told %q: %v", line, err)
		}
		lost += e.Records
	}
	if kept := strings.Count(g.text(), "x\n"); lost == 0 || kept+lost != 100 || strings.Contains(g.text(), "dropped") {
		t.Errorf("told %q, written %q", told.String(), g.text())
	}
	told.Reset()
	g.fail(errors.New("broken pipe"))
	for range 5 {
		fmt.Fprintln(q, "more")
		Flush(patience, q)
	}
	if strings.Count(told.String(), "broken pipe") != 1 {
		t.Errorf("told %q", told.String())
	}
	told.Reset()
	g.fail(nil)
	fmt.Fprintln(q, "more")
	Flush(patience, q)
	if !strings.Contains(told.String(), `"records":5`) {
		t.Errorf("told %q", told.String())
	}
}

// Whoever writes at the same time as others loses nothing and waits for no one.
func TestQueueOfMany(t *testing.T) {
	var got bytes.Buffer
	q := NewQueue(&got, DefaultRoom)
	var writers sync.WaitGroup
	const many, each = 8, 100
	for range many {
		writers.Go(func() {
			for range each {
				io.WriteString(q, "line\n")
			}
		})
	}
	writers.Wait()
	if !Flush(patience, q) || got.String() != strings.Repeat("line\n", many*each) {
		t.Errorf("%d bytes", got.Len())
	}
}
