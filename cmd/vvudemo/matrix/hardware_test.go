package matrix

import (
	"fmt"
	"slices"
	"testing"

	"vvufwd/cmd/internal/lab/machine"
)

// choicesOf are a Hardware's fields as texts.
func choicesOf(h Hardware) []string {
	return []string{"NIC " + string(h.NIC), "IOMMU " + h.IOMMU.String(), fmt.Sprintf("many=%v", h.Many), fmt.Sprintf("offloads=%v", h.Offloads)}
}

// pairsOf are a Hardware's pairs of choices.
func pairsOf(h Hardware) (pairs [][2]string) {
	c := choicesOf(h)
	for i := range c {
		for j := range i {
			pairs = append(pairs, [2]string{c[j], c[i]})
		}
	}
	return pairs
}

// Each pair of a NIC, an IOMMU, queues and offloads that goes together is shown in CI.
func TestEveryPairOfHardwareOccurs(t *testing.T) {
	shown := map[[2]string]bool{}
	for r := TwoMachines; r <= Rings; r++ {
		list := HardwarePairs(r)
		if len(list) == 0 {
			t.Errorf("run %d shows nothing", r)
		}
		for _, h := range list {
			if !h.Possible() {
				t.Errorf("%v is not possible", h)
			}
			for _, p := range pairsOf(h) {
				shown[p] = true
			}
		}
	}
	wanted := map[[2]string]bool{}
	for _, nic := range machine.NICs {
		for _, iommu := range machine.IOMMUs {
			for i := range 4 {
				if h := (Hardware{nic, iommu, i&1 != 0, i&2 != 0}); h.Possible() {
					for _, p := range pairsOf(h) {
						wanted[p] = true
					}
				}
			}
		}
	}
	// 4 NICs x 3 IOMMUs without two of a virtual function, and so on.
	if want := 10 + 7 + 8 + 6 + 6 + 4; len(wanted) != want {
		t.Errorf("%d pairs go together, want %d", len(wanted), want)
	}
	for p := range wanted {
		if !shown[p] {
			t.Errorf("nothing in CI shows %s with %s", p[0], p[1])
		}
	}
}

func TestAllHardware(t *testing.T) {
	all := AllHardware()
	if len(all) != 2*3*4+2 {
		t.Errorf("%d ways", len(all))
	}
	for _, h := range HardwarePairs(IntelNICs) {
		if !slices.Contains(all, h) {
			t.Errorf("%v is in no list of all", h)
		}
	}
}
