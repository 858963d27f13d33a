package netfwd

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// All columns are rates. The header comes first, when the ports change, and after some lines.
func TestRates(t *testing.T) {
	var r Rates
	at := time.Unix(100, 0)
	frames := uint64(0)
	write := func(names ...string) string {
		t.Helper()
		s := Stats{Time: at}
		for _, name := range names {
			s.Ports = append(s.Ports, PortStats{Name: name, RxPackets: frames, TxBytes: frames * 1000, Drops: map[string]uint64{"no_peer": frames / 100, "runt": 5}})
		}
		var out bytes.Buffer
		if err := r.Write(&out, s); err != nil {
			t.Fatal(err)
		}
		at = at.Add(2 * time.Second)
		frames += 5000
		return out.String()
	}
	if got := write("a", "b"); got != "" {
		t.Errorf("rates since when? %q", got)
	}
	const header = "port      rx pps   rx Mbit/s      tx pps   tx Mbit/s  drops/s\n"
	line := func(name string) string {
		return "   " + name + "        2500        0.00           0       20.00  no_peer=25\n"
	}
	if got := write("a", "b"); got != header+line("a")+line("b") {
		t.Errorf("%s", got)
	}
	headers := 0
	for range rateLines {
		got := write("a", "b")
		headers += strings.Count(got, header)
		if got = strings.TrimPrefix(got, header); got != line("a")+line("b") {
			t.Errorf("%s", got)
		}
	}
	if headers != 2 {
		t.Errorf("%d headers in %d lines", headers, 2*rateLines)
	}
	if got := write("a", "b/q1"); !strings.HasPrefix(got, "port ") || !strings.Contains(got, "b/q1  ") {
		t.Errorf("with other ports: %s", got)
	}
	for rate, want := range map[float64]string{0.004: "0.004", 0.25: "0.25", 9.96: "10", 12.6: "13", 1234567: "1234567"} {
		if got := shortRate(rate); got != want {
			t.Errorf("%g is %s, want %s", rate, got, want)
		}
	}
}
