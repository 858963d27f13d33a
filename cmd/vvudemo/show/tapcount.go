package show

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// tapCounts are what the host counts at a TAP device: rx comes out of the driver VM's NIC.
type tapCounts struct{ rx, rxDropped, tx, txDropped uint64 }

// countTAP reads them. (/sys may show another network namespace's devices.)
func countTAP(name string) (tapCounts, error) {
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return tapCounts{}, err
	}
	return parseNetDev(string(text), name)
}

// parseNetDev finds a device in /proc/net/dev: bytes, packets, errs, drop and four more received, then the same sent.
func parseNetDev(text, name string) (c tapCounts, err error) {
	for line := range strings.Lines(text) {
		device, numbers, found := strings.Cut(line, ":")
		if !found || strings.TrimSpace(device) != name {
			continue
		}
		fields := strings.Fields(numbers)
		if len(fields) < 12 {
			break
		}
		for i, n := range map[int]*uint64{1: &c.rx, 3: &c.rxDropped, 9: &c.tx, 11: &c.txDropped} {
			if *n, err = strconv.ParseUint(fields[i], 10, 64); err != nil {
				return c, fmt.Errorf("/proc/net/dev: %s: %w", name, err)
			}
		}
		return c, nil
	}
	return c, fmt.Errorf("/proc/net/dev has no counters of %s", name)
}
