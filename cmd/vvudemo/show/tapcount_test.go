package show

import "testing"

func TestParseNetDev(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
vvupktgen0: 6000 100    0    3    0     0          0         0    12000     200    0    4    0     0       0          0
`
	if got, err := parseNetDev(text, "vvupktgen0"); err != nil || got != (tapCounts{100, 3, 200, 4}) {
		t.Errorf("counted %+v, %v", got, err)
	}
	for _, name := range []string{"tap0", "vvupktgen"} {
		if _, err := parseNetDev(text, name); err == nil {
			t.Errorf("%s has counters", name)
		}
	}
}
