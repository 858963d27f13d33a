package traffic

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// threadDelay is how long the calling thread has been ready to run but had to
// wait for a CPU, since it was started. It is false where the kernel does not
// keep such accounts (CONFIG_SCHED_INFO).
func threadDelay() (time.Duration, bool) {
	text, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0, false
	}
	return parseDelay(string(text))
}

// parseDelay reads "time on a CPU, time waiting for one, time slices", the first
// two in nanoseconds.
func parseDelay(schedstat string) (time.Duration, bool) {
	fields := strings.Fields(schedstat)
	if len(fields) != 3 || fields[0] == "0" { // all zero: not kept
		return 0, false
	}
	ns, err := strconv.ParseInt(fields[1], 10, 64)
	return time.Duration(ns), err == nil && ns >= 0
}
