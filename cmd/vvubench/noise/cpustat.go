package noise

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuTime is what /proc/stat says of one CPU, in ticks.
type cpuTime struct{ total, interrupts, steal uint64 }

// readCPU reads the line of one CPU below root, normally "/proc".
func readCPU(root string, cpu int) (cpuTime, error) {
	text, err := os.ReadFile(filepath.Join(root, "stat"))
	if err != nil {
		return cpuTime{}, err
	}
	prefix := fmt.Sprintf("cpu%d ", cpu)
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, prefix); found {
			return parseCPU(rest)
		}
	}
	return cpuTime{}, fmt.Errorf("/proc/stat has no line for CPU %d", cpu)
}

// parseCPU reads user, nice, system, idle, iowait, irq, softirq and steal. What
// follows, guests' time, is part of user and nice.
func parseCPU(fields string) (t cpuTime, err error) {
	words := strings.Fields(fields)
	const known = 8
	if len(words) < known {
		return t, fmt.Errorf("/proc/stat: %q has fewer than %d numbers", fields, known)
	}
	var n [known]uint64
	for i := range n {
		if n[i], err = strconv.ParseUint(words[i], 10, 64); err != nil {
			return t, fmt.Errorf("/proc/stat: %w", err)
		}
		t.total += n[i]
	}
	t.interrupts, t.steal = n[5]+n[6], n[7]
	return t, nil
}

// since are the shares of the time since an earlier reading.
func (t cpuTime) since(before cpuTime) (interrupts, steal float64) {
	total := float64(t.total - before.total)
	if t.total <= before.total {
		return 0, 0
	}
	return float64(t.interrupts-before.interrupts) / total, float64(t.steal-before.steal) / total
}
