package cli

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseCPUs reads a list of CPUs: "1,3" or "1-3,5".
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
			cpus = append(cpus, c)
		}
	}
	return cpus, nil
}
