package show

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// PortCounter is what vvufwd counted at one of its ports since it started. Rx is what came out of the port's device.
type PortCounter struct {
	Name      string            `json:"name"`
	RxPackets uint64            `json:"rx_packets"`
	RxBytes   uint64            `json:"rx_bytes"`
	TxPackets uint64            `json:"tx_packets"`
	TxBytes   uint64            `json:"tx_bytes"`
	Drops     map[string]uint64 `json:"drops,omitempty"`
}

// Dropped is the sum of all drops.
func (p PortCounter) Dropped() uint64 {
	var sum uint64
	for _, n := range p.Drops {
		sum += n
	}
	return sum
}

// sample is one line of vvufwd's JSON statistics.
type sample struct {
	Ports []PortCounter `json:"ports"`
}

// vvu and nic find the two ports of the demo.
func (s sample) vvu() (PortCounter, error) {
	return s.port(func(kind string) bool { return kind == "vvu" })
}
func (s sample) nic() (PortCounter, error) {
	return s.port(func(kind string) bool { return kind != "vvu" })
}

func (s sample) port(wanted func(kind string) bool) (PortCounter, error) {
	for _, p := range s.Ports {
		if kind, _, _ := strings.Cut(p.Name, ":"); wanted(kind) {
			return p, nil
		}
	}
	return PortCounter{}, fmt.Errorf("vvufwd's statistics lack one of the two ports: %+v", s.Ports)
}

// counters follows the statistics that vvufwd prints on the driver VM's console. Safe for concurrent use.
type counters struct {
	mu      sync.Mutex
	latest  sample
	count   int
	changed chan struct{} // closed and replaced with each sample
}

func newCounters() *counters { return &counters{changed: make(chan struct{})} }

// feed looks at one line of the console. Other lines than statistics are passed over.
func (c *counters) feed(line string) {
	start := strings.Index(line, `{"time":`)
	if start < 0 {
		return
	}
	var s sample
	if err := json.Unmarshal([]byte(line[start:]), &s); err != nil || len(s.Ports) == 0 {
		return // a line that the kernel wrote into; the next one is whole
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = s
	c.count++
	close(c.changed)
	c.changed = make(chan struct{})
}

// last returns the newest statistics, which are empty before the first.
func (c *counters) last() sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest
}

// now returns statistics that were collected after the call: the second sample from now, because the first may have been
// on its way already.
func (c *counters) now(ctx context.Context) (sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, errors.New("vvufwd prints no statistics"))
	defer cancel()
	c.mu.Lock()
	wanted := c.count + 2
	for c.count < wanted {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return sample{}, context.Cause(ctx)
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	return c.latest, nil
}

// statsInterval is how often vvufwd prints its statistics.
const statsInterval = 500 * time.Millisecond
