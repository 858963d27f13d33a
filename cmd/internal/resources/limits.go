package resources

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// usualMappings is what Linux allows if no one has changed it.
const usualMappings = 65530

// Mappings is how many pieces of memory a process may have mapped.
func Mappings() int {
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		return usualMappings
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return usualMappings
	}
	return n
}

// Files is how many files this process may have open.
func Files() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return ^uint64(0)
	}
	return limit.Cur
}
