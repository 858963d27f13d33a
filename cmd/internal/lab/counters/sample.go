package counters

import "fmt"

// Port is what vvufwd counted at one of its ports since it started. Rx is what came out of the port's device.
type Port struct {
	Name      string            `json:"name"`
	RxPackets uint64            `json:"rx_packets"`
	Plain     uint64            `json:"plain_packets"` // of RxPackets, those that were copied once, as they were
	RxBytes   uint64            `json:"rx_bytes"`
	TxPackets uint64            `json:"tx_packets"`
	TxBytes   uint64            `json:"tx_bytes"`
	Offloads  Offloads          `json:"offloads,omitzero"`
	Drops     map[string]uint64 `json:"drops,omitempty"`
	Device    Device            `json:"device,omitzero"`
}

// Device is what the device behind a port tells of itself.
type Device struct {
	Counters map[string]uint64 `json:"counters,omitempty"`
}

// SegmentedByNIC is how many large frames a NIC says that it has cut. Not all kinds tell.
func (p Port) SegmentedByNIC() uint64 { return p.Device.Counters["tx_segmentation_contexts"] }

// Offloads counts frames for a port with a checksum to be completed or a segment to be cut.
type Offloads struct {
	Passed      uint64 `json:"passed"`      // left to the receiver
	Checksummed uint64 `json:"checksummed"` // completed by vvufwd
	Segmented   uint64 `json:"segmented"`   // cut by vvufwd
	Pieces      uint64 `json:"pieces"`      // made of those
}

// String says it for a person.
func (o Offloads) String() string {
	return fmt.Sprintf("%d passed, %d checksums completed, %d cut into %d", o.Passed, o.Checksummed, o.Segmented, o.Pieces)
}

// Dropped is the sum of all drops.
func (p Port) Dropped() uint64 {
	var sum uint64
	for _, n := range p.Drops {
		sum += n
	}
	return sum
}

// Loop is what vvufwd tells of one of its loops.
type Loop struct {
	Pairs int `json:"pairs"` // of queue pairs that it joins
}

// Sample is one line of vvufwd's JSON statistics.
type Sample struct {
	Ports []Port `json:"ports"`
	Loops []Loop `json:"loops"`
}
