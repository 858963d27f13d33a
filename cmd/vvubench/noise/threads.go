package noise

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// threadTime is what the scheduler has kept of one thread.
type threadTime struct{ ran, waited time.Duration }

// readThreads reads all threads of a process below root, normally "/proc". A
// thread that ends meanwhile is left out.
func readThreads(root string, pid int) map[string]threadTime {
	files, err := filepath.Glob(filepath.Join(root, strconv.Itoa(pid), "task", "*", "schedstat"))
	if err != nil {
		return nil
	}
	threads := map[string]threadTime{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if t, ok := parseThread(string(text)); ok {
			threads[file] = t
		}
	}
	return threads
}

// parseThread reads "time on a CPU, time waiting for one, time slices", the first
// two in nanoseconds.
func parseThread(schedstat string) (t threadTime, ok bool) {
	words := strings.Fields(schedstat)
	if len(words) != 3 {
		return t, false
	}
	ran, err1 := strconv.ParseInt(words[0], 10, 64)
	waited, err2 := strconv.ParseInt(words[1], 10, 64)
	return threadTime{time.Duration(ran), time.Duration(waited)}, err1 == nil && err2 == nil
}

// wanted is how long the thread had something to do.
func (t threadTime) wanted() time.Duration { return t.ran + t.waited }

// delayed is the share of time that others ran where a process polls, between two
// readings; -1 if that is unknown. A thread that polls always runs or waits. There
// may be several on the CPU: they are no others to each other.
func delayed(before, after map[string]threadTime) float64 {
	var deltas []threadTime
	var elapsed time.Duration
	for name, t := range after {
		if b, known := before[name]; known {
			d := threadTime{t.ran - b.ran, t.waited - b.waited}
			deltas = append(deltas, d)
			elapsed = max(elapsed, d.wanted())
		}
	}
	if elapsed <= 0 {
		return -1
	}
	var ran time.Duration
	for _, d := range deltas {
		if d.wanted() > elapsed*9/10 {
			ran += d.ran
		}
	}
	return max(0, 1-float64(ran)/float64(elapsed))
}
