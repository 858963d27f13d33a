package counters

import (
	"fmt"
	"maps"
)

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

// PlainPercent is how many of a hundred received frames were plain, and 100 if there are none.
func (p Port) PlainPercent() float64 {
	if p.RxPackets == 0 {
		return 100
	}
	return 100 * float64(p.Plain) / float64(p.RxPackets)
}

// Plus is the sum of the counters of two queue pairs of a port. What the device tells of itself goes with the first.
func (p Port) Plus(q Port) Port {
	sum := p.combine(q, func(a, b uint64) uint64 { return a + b })
	if sum.Name == "" {
		sum.Name = q.Name
	}
	if sum.Device.Counters == nil {
		sum.Device = q.Device
	}
	return sum
}

// Since is what was counted after then, but for what the device tells.
func (p Port) Since(then Port) Port {
	return p.combine(then, func(a, b uint64) uint64 { return a - b })
}

// combine combines all counters with those of another.
func (p Port) combine(q Port, with func(a, b uint64) uint64) Port {
	for to, from := range map[*uint64]uint64{
		&p.RxPackets: q.RxPackets, &p.Plain: q.Plain, &p.RxBytes: q.RxBytes, &p.TxPackets: q.TxPackets, &p.TxBytes: q.TxBytes,
		&p.Offloads.Passed: q.Offloads.Passed, &p.Offloads.Checksummed: q.Offloads.Checksummed,
		&p.Offloads.Segmented: q.Offloads.Segmented, &p.Offloads.Pieces: q.Offloads.Pieces,
	} {
		*to = with(*to, from)
	}
	drops := maps.Clone(p.Drops)
	for why, n := range q.Drops {
		if drops == nil {
			drops = make(map[string]uint64)
		}
		drops[why] = with(drops[why], n)
	}
	p.Drops = drops
	return p
}

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
