package cli

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ParseCPUs reads a list of CPUs, each named once: "1,3" or "1-3,5". Whether this machine has them is
// for CheckCPUs to say.
func ParseCPUs(s string) ([]int, error) {
	var cpus []int
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		lo, err := strconv.Atoi(first)
		hi := lo
		if err == nil && isRange {
			hi, err = strconv.Atoi(last)
		}
		if err != nil || lo < 0 || hi < lo || hi >= 1024 {
			return nil, fmt.Errorf("want CPU numbers such as 1,2 or 1-3")
		}
		for c := lo; c <= hi; c++ {
			if slices.Contains(cpus, c) {
				return nil, fmt.Errorf("CPU %d is named twice: loops that poll need a CPU each", c)
			}
			cpus = append(cpus, c)
		}
	}
	return cpus, nil
}

// CheckCPUs refuses CPUs to which this process cannot pin a thread, with a UsageError. flag is what
// named them.
func CheckCPUs(flag string, cpus []int) error {
	for _, c := range cpus {
		if err := pinnable(c); err != nil {
			return Usagef("%s: no thread can be pinned to CPU %d: %w (this machine has %d CPUs; see lscpu, or the cpuset of this process)", flag, c, err, runtime.NumCPU())
		}
	}
	return nil
}

// pinnable tries it, on a thread that ends with it. Being asked for by name is more than the affinity that
// the process was started with, so that taskset does not count.
func pinnable(cpu int) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var set unix.CPUSet
		set.Set(cpu)
		result <- unix.SchedSetaffinity(0, &set)
	}()
	return <-result
}
