package counters

// Port is what vvufwd counted at one of its ports since it started. Rx is what came out of the port's device.
type Port struct {
	Name      string            `json:"name"`
	RxPackets uint64            `json:"rx_packets"`
	RxBytes   uint64            `json:"rx_bytes"`
	TxPackets uint64            `json:"tx_packets"`
	TxBytes   uint64            `json:"tx_bytes"`
	Drops     map[string]uint64 `json:"drops,omitempty"`
}

// Dropped is the sum of all drops.
func (p Port) Dropped() uint64 {
	var sum uint64
	for _, n := range p.Drops {
		sum += n
	}
	return sum
}

// Sample is one line of vvufwd's JSON statistics.
type Sample struct {
	Ports []Port `json:"ports"`
}
