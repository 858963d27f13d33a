package peer

import (
	"encoding/json"
	"fmt"
)

// statistics are the parts of a line of vvufwd --stats-json that matter here.
type statistics struct {
	Ports []struct {
		RxPackets uint64            `json:"rx_packets"`
		Drops     map[string]uint64 `json:"drops"`
	} `json:"ports"`
	Loops []struct {
		BusyNS float64 `json:"busy_ns"` // of rounds that moved frames
	} `json:"loops"` // older versions have none
}

// parseStatistics reads a line of vvufwd's totals.
func parseStatistics(line string) (w Work, err error) {
	var s statistics
	if err := json.Unmarshal([]byte(line), &s); err != nil || len(s.Ports) == 0 {
		return w, fmt.Errorf("its last line of statistics is %.100q: it should print totals as JSON when it ends", line)
	}
	for _, p := range s.Ports {
		w.Packets += p.RxPackets
		for _, n := range p.Drops {
			w.Dropped += n
		}
	}
	for _, l := range s.Loops {
		w.BusyNS += l.BusyNS
	}
	return w, nil
}
