package testpmd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says what a testpmd does.
type Config struct {
	Name       string // in messages
	Ports      []Port // paired in the order given
	Mode       string // of forwarding: "io", "rxonly", "txonly", "flowgen" …
	CPU        int    // forwards
	ControlCPU int    // does everything else; another one

	// FrameSize is the size of the frames that Mode generates, in bytes without
	// FCS; 0: 64.
	FrameSize int
	// RatesEvery is how often rates are printed, in whole seconds; 0: never.
	RatesEvery time.Duration
	// Commands lets Pause and Resume be used. No rates are printed then.
	Commands bool
	// Args are further arguments of testpmd itself, not of DPDK's EAL.
	Args []string
	// LogPath is the file that receives all that it prints.
	LogPath string
}

// seldom is how often rates are printed if no one wants them, in seconds. Testpmd
// has to be told some time, or else it waits for its standard input. It must not be
// long either: the first printing is what flushes the lines before it into our
// pipe, and comes only when the machine's time stamp counter is older than this.
const seldom = 20

func (c *Config) check() error {
	switch {
	case len(c.Ports) == 0:
		return errors.New("testpmd needs at least one port")
	case c.CPU < 0 || c.ControlCPU < 0 || c.CPU == c.ControlCPU:
		return fmt.Errorf("testpmd on CPU %d with its control on %d: it needs two CPUs", c.CPU, c.ControlCPU)
	case c.RatesEvery%time.Second != 0 || c.RatesEvery < 0:
		return fmt.Errorf("testpmd prints rates every whole second, not every %v", c.RatesEvery)
	case c.RatesEvery > 0 && c.Commands:
		return errors.New("testpmd prints no rates while it takes commands")
	}
	for _, p := range c.Ports {
		if device := p.device(0); strings.Count(device, "=") > strings.Count(device, ",") {
			return fmt.Errorf("testpmd cannot take %q: use a socket path without = or comma", device)
		}
	}
	return nil
}

// arguments is the command line after the program, for memory of that kind.
func (c *Config) arguments(m memory) []string {
	eal := []string{
		"-l", fmt.Sprintf("%d,%d", c.ControlCPU, c.CPU), "--main-lcore", strconv.Itoa(c.ControlCPU),
		"--no-pci", "--no-telemetry", "-v", "--log-level", "lib.vhost.config:error",
	}
	eal = append(eal, m.arguments()...)
	if slices.ContainsFunc(c.Ports, Port.frontend) {
		// The back-end maps our memory, and a memory table has few entries.
		eal = append(eal, "--single-file-segments")
	}
	for i, p := range c.Ports {
		eal = append(eal, "--vdev", p.device(i))
	}
	own := []string{
		"--forward-mode=" + c.Mode, "--auto-start", "--record-core-cycles", "--nb-cores=1",
		"--total-num-mbufs=32768",
	}
	switch {
	case c.Commands:
		own = append(own, "--interactive")
	case c.RatesEvery > 0:
		own = append(own, "--stats-period", strconv.Itoa(int(c.RatesEvery/time.Second)))
	default:
		own = append(own, "--stats-period", strconv.Itoa(seldom))
	}
	if c.FrameSize > 0 {
		size := c.FrameSize
		if c.Mode == "flowgen" {
			size += 4 // it takes the FCS off
		}
		own = append(own, fmt.Sprintf("--txpkts=%d", size))
	}
	return append(append(append(eal, "--"), own...), c.Args...)
}
