package testpmd

import (
	"strconv"
	"strings"
)

// Rates are the frames per second of each port, by number, since the last time
// they were printed.
type Rates []Rate

// Rate is that of one port.
type Rate struct{ Rx, Tx float64 }

// Totals are what testpmd prints when forwarding ends.
type Totals struct {
	Ports []Counters // by number
	All   Counters   // of all ports
	// Cycles are what forwarding took. They are zero if there was nothing to
	// forward.
	Cycles Cycles
}

// Counters count frames.
type Counters struct {
	RxPackets, RxDropped, RxTotal uint64
	TxPackets, TxDropped, TxTotal uint64 // dropped: the other side's ring was full
}

// Cycles are TSC cycles spent in rounds that moved frames. A frame is counted
// once, where it came in ("io", "rxonly") or where it went out ("txonly",
// "flowgen").
type Cycles struct {
	Total, Packets uint64
	MHz            float64
}

// NanosecondsPerPacket is the busy time of the core for each frame, 0 if there
// was none.
func (c Cycles) NanosecondsPerPacket() float64 {
	if c.Packets == 0 || c.MHz == 0 {
		return 0
	}
	return float64(c.Total) / float64(c.Packets) / c.MHz * 1e3
}

// output makes sense of the lines that testpmd prints. Lines that it does not
// know are passed over: there are many, and they differ from version to version.
type output struct {
	version string
	rates   []Rates
	totals  Totals
	ended   int // how often the totals of all ports have come

	port   int       // that the current block is about, -1: all of them
	counts *Counters // that the current block is about, nil: none
}

// maxPorts bounds the port numbers that are believed.
const maxPorts = 1024

// add reads one line.
func (o *output) add(line string) {
	switch {
	case strings.Contains(line, "RTE Version: '"):
		_, rest, _ := strings.Cut(line, "'")
		o.version = strings.TrimSuffix(rest, "'")
	case strings.HasPrefix(line, "Port statistics ="):
		o.rates = append(o.rates, nil)
	case strings.Contains(line, "# NIC statistics for port "):
		o.beginRate(numberAfter(line, "for port "))
	case strings.Contains(line, "Rx-pps:"), strings.Contains(line, "Tx-pps:"):
		o.rate(line)
	case strings.Contains(line, "- Forward statistics for port "):
		o.beginPort(numberAfter(line, "for port "))
	case strings.Contains(line, "Accumulated forward statistics for all ports"):
		o.counts = &o.totals.All
		o.ended++
	case strings.Contains(line, "RX-total:"), strings.Contains(line, "TX-total:"):
		o.count(line)
	case strings.Contains(line, "CPU cycles/packet="):
		o.totals.Cycles = Cycles{
			Total: numberAfter(line, "total cycles="), Packets: numberAfter(line, "packets="),
			MHz: float64(numberAfter(line, ") at ")),
		}
	}
}

func (o *output) beginRate(port uint64) {
	o.port = -1
	if len(o.rates) == 0 || port >= maxPorts {
		return // printed for another reason than time
	}
	o.port = int(port)
	last := &o.rates[len(o.rates)-1]
	for len(*last) <= o.port {
		*last = append(*last, Rate{})
	}
}

func (o *output) rate(line string) {
	if o.port < 0 || len(o.rates) == 0 || o.port >= len(o.rates[len(o.rates)-1]) {
		return
	}
	r := &o.rates[len(o.rates)-1][o.port]
	if strings.Contains(line, "Rx-pps:") {
		r.Rx = float64(numberAfter(line, "Rx-pps:"))
	} else {
		r.Tx = float64(numberAfter(line, "Tx-pps:"))
	}
}

func (o *output) beginPort(port uint64) {
	if port >= maxPorts {
		o.counts = nil
		return
	}
	for uint64(len(o.totals.Ports)) <= port {
		o.totals.Ports = append(o.totals.Ports, Counters{})
	}
	o.counts = &o.totals.Ports[port]
}

func (o *output) count(line string) {
	c := o.counts
	if c == nil {
		return
	}
	if strings.Contains(line, "RX-total:") {
		c.RxPackets, c.RxDropped, c.RxTotal = numberAfter(line, "RX-packets:"), numberAfter(line, "RX-dropped:"), numberAfter(line, "RX-total:")
	} else {
		c.TxPackets, c.TxDropped, c.TxTotal = numberAfter(line, "TX-packets:"), numberAfter(line, "TX-dropped:"), numberAfter(line, "TX-total:")
	}
}

// complete are the rates that no further line can change.
func (o *output) complete() []Rates {
	n := len(o.rates)
	if n > 0 && o.ended == 0 {
		n--
	}
	return o.rates[:n:n]
}

// final returns the totals, if they have come after so many pauses, each of which has its own.
func (o *output) final(pauses int) (Totals, bool) { return o.totals, o.ended > pauses }

// numberAfter returns the number after a label, blanks between them left out, or
// 0 if there is none.
func numberAfter(line, label string) uint64 {
	_, rest, _ := strings.Cut(line, label)
	rest = strings.TrimLeft(rest, " ")
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	n, err := strconv.ParseUint(rest[:digits], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
