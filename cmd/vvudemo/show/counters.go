package show

import (
	"fmt"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/counters"
)

// statsInterval is how often vvufwd prints its statistics.
const statsInterval = 500 * time.Millisecond

// vvuPort and nicPort find the two ports of the demo.
func vvuPort(ports []counters.Port) (counters.Port, error) {
	return findPort(ports, func(kind string) bool { return kind == "vvu" })
}

func nicPort(ports []counters.Port) (counters.Port, error) {
	return findPort(ports, func(kind string) bool { return kind != "vvu" })
}

func findPort(ports []counters.Port, wanted func(kind string) bool) (counters.Port, error) {
	for _, p := range ports {
		if kind, _, _ := strings.Cut(p.Name, ":"); wanted(kind) {
			return p, nil
		}
	}
	return counters.Port{}, fmt.Errorf("vvufwd's statistics lack one of the two ports: %+v", ports)
}
