package netfwd

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring"
)

// PortStats are a queue pair's counters as they are reported.
type PortStats struct {
	Name       string            `json:"name"`
	RxPackets  uint64            `json:"rx_packets"`
	Plain      uint64            `json:"plain_packets"` // of these, those that were copied as plain frames, see virtionet.Burst
	RxBytes    uint64            `json:"rx_bytes"`
	TxPackets  uint64            `json:"tx_packets"`
	TxBytes    uint64            `json:"tx_bytes"`
	Interrupts uint64            `json:"notifications"`
	Offloads   *OffloadStats     `json:"offloads,omitempty"`
	Drops      map[string]uint64 `json:"drops"`            // only reasons that occurred
	Faults     map[string]uint64 `json:"faults,omitempty"` // rings stopped, by the rule that was broken
	Device     any               `json:"device,omitempty"` // what the device behind the port tells of itself; set by whoever knows it
}

// OffloadStats count the frames for a port that needed more than to be copied.
type OffloadStats struct {
	Passed      uint64 `json:"passed"`      // with checksum or segmentation left to the receiver
	Checksummed uint64 `json:"checksummed"` // completed here
	Segmented   uint64 `json:"segmented"`   // cut here
	Pieces      uint64 `json:"pieces"`      // made of those
}

// LoopStats say how busy a loop was since it started.
type LoopStats struct {
	CPU        int    `json:"cpu"`   // to which it is pinned, or -1
	Pairs      int    `json:"pairs"` // of queue pairs joined; 0 for a switch
	Rounds     uint64 `json:"rounds"`
	BusyRounds uint64 `json:"busy_rounds"` // that moved a frame
	BusyNS     int64  `json:"busy_ns"`     // spent in these

	Switch *SwitchStats `json:"switch,omitempty"`
}

// SwitchStats tell of a switch and the addresses that it knows.
type SwitchStats struct {
	Ports   int    `json:"ports"`
	Learned int    `json:"learned"` // addresses now
	Static  int    `json:"static"`  // addresses
	Moves   uint64 `json:"moves"`   // addresses that were learned at another port before
	Refused uint64 `json:"refused"` // frames whose address was not learned for its port's limit
	Floods  uint64 `json:"floods"`  // frames sent to every port: group addresses and unknown ones
}

// Stats are the counters of all ports and loops at one time.
type Stats struct {
	Time  time.Time   `json:"time"`
	Ports []PortStats `json:"ports"`
	Loops []LoopStats `json:"loops"`
}

// Collect asks every loop for its counters. They are of a moment after the call, but see
// collect.
func Collect(loops []*Loop) Stats {
	var s Stats
	for _, c := range collect(loops) {
		for _, p := range c.ports {
			s.Ports = append(s.Ports, p.stats)
		}
		s.Loops = append(s.Loops, c.loop)
	}
	s.Time = time.Now()
	return s
}

// MemoryFault names, among faults, rings stopped because their memory vanished.
const MemoryFault = "memory vanished"

func portStats(name string, c *virtionet.Counters) PortStats {
	s := PortStats{
		Name:      name,
		RxPackets: c.RxPackets, Plain: c.Plain, RxBytes: c.RxBytes, TxPackets: c.TxPackets, TxBytes: c.TxBytes,
		Interrupts: c.Interrupts, Drops: map[string]uint64{},
	}
	if o := (OffloadStats{c.Offloaded, c.Checksummed, c.Segmented, c.Pieces}); o != (OffloadStats{}) {
		s.Offloads = &o
	}
	for why, n := range c.Drops {
		if n > 0 {
			s.Drops[virtionet.Drop(why).String()] = n
		}
	}
	addFault := func(name string, n uint64) {
		if n > 0 {
			if s.Faults == nil {
				s.Faults = map[string]uint64{}
			}
			s.Faults[name] = n
		}
	}
	for fault, n := range c.Faults {
		addFault(vring.Fault(fault).String(), n)
	}
	addFault(MemoryFault, c.MemoryFaults)
	return s
}

// WriteJSON writes the statistics as one line of JSON.
func (s Stats) WriteJSON(w io.Writer) error {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// WriteTable writes one line per port, with totals.
func (s Stats) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "port\trx packets\trx bytes\ttx packets\ttx bytes\tnotifications\tdrops\t")
	for _, p := range s.Ports {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t\n", p.Name, p.RxPackets, p.RxBytes, p.TxPackets, p.TxBytes, p.Interrupts, dropList(p.Drops))
	}
	return t.Flush()
}
