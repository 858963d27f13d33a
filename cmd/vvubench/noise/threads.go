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

// delayed is the share of time that the busiest thread, the one that polls, had to
// wait for its CPU between two readings; -1 if there is none.
func delayed(before, after map[string]threadTime) float64 {
	var busiest threadTime
	for name, t := range after {
		if b, known := before[name]; known {
			if d := (threadTime{t.ran - b.ran, t.waited - b.waited}); d.ran > busiest.ran {
				busiest = d
			}
		}
	}
	if busiest.ran <= 0 {
		return -1
	}
	return float64(busiest.waited) / float64(busiest.ran+busiest.waited)
}
