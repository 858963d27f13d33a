package cli

import (
	"slices"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	for in, want := range map[string][]int{"1": {1}, "1,3": {1, 3}, "0-2,5": {0, 1, 2, 5}} {
		if got, err := ParseCPUs(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "-1", "2-1", "1,", "0-9999", "1-"} {
		if got, err := ParseCPUs(in); err == nil {
			t.Errorf("%q: accepted as %v", in, got)
		}
	}
}
