package hostile

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
)

// entry is one line of vvufwd's log.
type entry struct {
	Level   string `json:"level"`
	Msg     string `json:"msg"`
	Port    string `json:"port"`
	Ring    any    `json:"ring"` // a name or a number
	Request string `json:"request"`
	Error   string `json:"error"`
	// Of an address that two ports use.
	Address string   `json:"address"`
	Ports   []string `json:"ports"`
}

// journal collects vvufwd's log. It is safe for concurrent use.
type journal struct {
	mu      sync.Mutex
	entries []entry // without level debug
	strays  []string
	ended   chan struct{}
}

// newJournal follows a log in JSON until it ends.
func newJournal(r io.Reader) *journal {
	j := &journal{ended: make(chan struct{})}
	go func() {
		defer close(j.ended)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			j.add(lines.Text())
		}
	}()
	return j
}

func (j *journal) add(line string) {
	var e entry
	stray := json.Unmarshal([]byte(line), &e) != nil
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case stray:
		j.strays = append(j.strays, line)
	case e.Level != "debug":
		j.entries = append(j.entries, e)
	}
}

// mark is a place in the log; find and await look behind it.
func (j *journal) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries)
}

// find returns the entries behind mark that match.
func (j *journal) find(mark int, match func(entry) bool) (found []entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries[mark:] {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

// await waits for an entry behind mark that contains text, in its message or its
// error, and concerns the port.
func (j *journal) await(t testing.TB, mark int, port, text string) {
	t.Helper()
	eventually(t, "a line of the log about "+port+" with: "+text, func() bool {
		return len(j.find(mark, says(port, text))) > 0
	})
}

// says matches entries with text about a port; an empty port is any.
func says(port, text string) func(entry) bool {
	return func(e entry) bool {
		return (port == "" || strings.HasSuffix(e.Port, port)) &&
			(strings.Contains(e.Msg, text) || strings.Contains(e.Error, text))
	}
}

// outside returns what vvufwd wrote that is no log entry: its last words.
func (j *journal) outside() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.strays
}
