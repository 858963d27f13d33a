package show

import (
	"fmt"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/counters"
)

// statsInterval is how often vvufwd prints its statistics. Each time costs an emulated driver VM 1.5 % of a
// core's second, most of it for the serial console.
const statsInterval = time.Second

// vvuPort and nicPort are the two sides of the demo, each the sum of its queue pairs.
func vvuPort(ports []counters.Port) (counters.Port, error) { return sumOf(ports, isVVU) }

func nicPort(ports []counters.Port) (counters.Port, error) {
	return sumOf(ports, func(p counters.Port) bool { return !isVVU(p) })
}

func isVVU(p counters.Port) bool { return strings.HasPrefix(p.Name, "vvu:") }

func sumOf(ports []counters.Port, wanted func(counters.Port) bool) (sum counters.Port, err error) {
	for _, p := range ports {
		if wanted(p) {
			sum = sum.Plus(p)
		}
	}
	if sum.Name == "" {
		return sum, fmt.Errorf("vvufwd's statistics lack one of the two ports: %+v", ports)
	}
	return sum, nil
}

// Sides are what vvufwd counted at the app VM's side and at the NIC's, each the sum of its queue pairs.
func (r *Report) Sides() (vvu, nic counters.Port, err error) {
	if vvu, err = vvuPort(r.Ports); err == nil {
		nic, err = nicPort(r.Ports)
	}
	return vvu, nic, err
}
