package counters

import (
	"maps"
	"testing"
)

// Queue pairs add up to a port, and what was counted before is left out.
func TestPlusAndSince(t *testing.T) {
	a := Port{
		Name: "igb:a", RxPackets: 10, Plain: 5, RxBytes: 100, TxPackets: 1, TxBytes: 2, Offloads: Offloads{1, 2, 3, 4},
		Drops: map[string]uint64{"runt": 1}, Device: Device{map[string]uint64{"tx_segmentation_contexts": 7}},
	}
	b := Port{Name: "igb:a/q1", RxPackets: 30, Plain: 25, RxBytes: 300, TxPackets: 3, TxBytes: 6, Offloads: Offloads{10, 20, 30, 40}, Drops: map[string]uint64{"runt": 1, "fault": 2}}
	sum := Port{}.Plus(a).Plus(b)
	if sum.Name != a.Name || sum.RxPackets != 40 || sum.Plain != 30 || sum.RxBytes != 400 || sum.TxPackets != 4 || sum.TxBytes != 8 ||
		sum.Offloads != (Offloads{11, 22, 33, 44}) || sum.Dropped() != 4 || sum.SegmentedByNIC() != 7 || sum.PlainPercent() != 75 {
		t.Errorf("sum = %+v", sum)
	}
	if a.Dropped() != 1 || b.Dropped() != 3 {
		t.Errorf("what was added has changed: %+v, %+v", a, b)
	}
	if rest := sum.Since(a); rest.RxPackets != b.RxPackets || rest.Plain != b.Plain || rest.TxBytes != b.TxBytes || rest.Offloads != b.Offloads ||
		!maps.Equal(rest.Drops, b.Drops) {
		t.Errorf("since = %+v, want %+v", rest, b)
	}
	if (Port{}).PlainPercent() != 100 {
		t.Error("of no frames some were not plain")
	}
}
