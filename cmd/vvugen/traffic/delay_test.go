package traffic

import (
	"testing"
	"time"
)

func TestParseDelay(t *testing.T) {
	if d, ok := parseDelay("5283145 2244971 5\n"); !ok || d != 2244971*time.Nanosecond {
		t.Errorf("delay %v, %v", d, ok)
	}
	for _, text := range []string{"", "0 0 0\n", "1 2", "1 x 3", "1 -2 3"} {
		if d, ok := parseDelay(text); ok {
			t.Errorf("%q gives %v", text, d)
		}
	}
}
