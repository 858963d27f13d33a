package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	for in, want := range map[string][]int{"1": {1}, "1,3": {1, 3}, "0-2,5": {0, 1, 2, 5}} {
		if got, err := ParseCPUs(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "-1", "2-1", "1,", "0-9999", "1-", "0,0", "1-3,2"} {
		if got, err := ParseCPUs(in); err == nil {
			t.Errorf("%q: accepted as %v", in, got)
		}
	}
}

func TestCheckCPUs(t *testing.T) {
	if err := CheckCPUs("--cpus", []int{0}); err != nil {
		t.Errorf("CPU 0: %v", err)
	}
	err := CheckCPUs("--cpus", []int{0, 1023})
	if !IsUsage(err) || !strings.Contains(err.Error(), "--cpus: no thread can be pinned to CPU 1023: invalid argument") {
		t.Errorf("CPU 1023: %v", err)
	}
}
