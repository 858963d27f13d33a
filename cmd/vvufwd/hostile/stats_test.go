package hostile

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"sync"
)

// portCounters are a port's counters in vvufwd's statistics.
type portCounters struct {
	Name      string            `json:"name"`
	RxPackets uint64            `json:"rx_packets"`
	TxPackets uint64            `json:"tx_packets"`
	Drops     map[string]uint64 `json:"drops"`
	Faults    map[string]uint64 `json:"faults"` // by the text of a vring.Fault
}

// statistics follows the JSON lines of --stats-json. It is safe for concurrent
// use.
type statistics struct {
	mu    sync.Mutex
	lines int
	last  []portCounters
	ended chan struct{}
}

func newStatistics(r io.Reader) *statistics {
	s := &statistics{ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var all struct {
				Ports []portCounters `json:"ports"`
			}
			if json.Unmarshal(lines.Bytes(), &all) != nil {
				continue
			}
			s.mu.Lock()
			s.lines++
			s.last = all.Ports
			s.mu.Unlock()
		}
	}()
	return s
}

// port returns the latest counters of the port at a socket.
func (s *statistics) port(socket string) portCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.last {
		if strings.HasSuffix(p.Name, socket) {
			return p
		}
	}
	return portCounters{}
}

// count is the number of lines so far.
func (s *statistics) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines
}
