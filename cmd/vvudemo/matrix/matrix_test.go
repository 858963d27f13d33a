package matrix

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"vvufwd/virtio"
)

// choices are a combination's fields as truth values.
func choices(c Combination) map[string]bool {
	v := reflect.ValueOf(c)
	all := make(map[string]bool)
	for i := range v.NumField() {
		all[v.Type().Field(i).Name] = v.Field(i).Bool()
	}
	return all
}

// possible reports whether two choices can go together.
func possible(set, a string, x bool, b string, y bool) bool {
	if a == "Newest" || b == "Newest" {
		return false // with few others
	}
	if set == "pairs" && a == "Shadow" && x && b == "Wide" && !y {
		return false // a driver VM more
	}
	jumbo := a == "Jumbo" && x && b == "Wide" && !y
	return !jumbo && !(b == "Jumbo" && y && a == "Wide" && !x)
}

func TestEveryPairOccurs(t *testing.T) {
	for name, set := range map[string][]Combination{"all": All(), "pairs": Pairs()} {
		names := choices(Combination{})
		for a := range names {
			for b := range names {
				for i := range 4 {
					x, y := i&1 != 0, i&2 != 0
					if a >= b || !possible(name, a, x, b, y) {
						continue
					}
					if !slices.ContainsFunc(set, func(c Combination) bool { return choices(c)[a] == x && choices(c)[b] == y }) {
						t.Errorf("%s: no combination has %s=%v and %s=%v", name, a, x, b, y)
					}
				}
			}
		}
		seen := make(map[Combination]bool)
		changes := 0
		for i, c := range set {
			if seen[c] {
				t.Errorf("%s: %+v occurs twice", name, c)
			}
			seen[c] = true
			if c.Jumbo && !c.Wide {
				t.Errorf("%s: %+v is impossible", name, c)
			}
			if i > 0 && c.Wide != set[i-1].Wide {
				changes++
			}
		}
		if changes != 1 {
			t.Errorf("%s: the driver VM changes %d times, want once", name, changes)
		}
	}
}

func TestAllIsAll(t *testing.T) {
	seen := make(map[Combination]bool)
	newest, shadows := 0, 0
	for _, c := range All() {
		if c.Newest {
			newest++
			if c.Newer {
				t.Errorf("%+v has two kernels", c)
			}
			continue
		}
		if c.Shadow {
			shadows++
			continue
		}
		c.Wide, c.Jumbo = false, false
		seen[c] = true
	}
	if shadows != len(Pairs()) {
		t.Errorf("%d combinations with a shadow region", shadows)
	}
	if newest < 4 {
		t.Errorf("%d combinations with the newest kernel", newest)
	}
	if len(seen) != 32 {
		t.Errorf("%d of 32 combinations of the app VM's choices", len(seen))
	}
}

func TestDeviceOptions(t *testing.T) {
	if got := (Combination{Mergeable: true, Offloads: true}).DeviceOptions(); got != "" {
		t.Errorf("QEMU's defaults are spelled %q", got)
	}
	got := Combination{Packed: true, Many: true, Wide: true, Jumbo: true}.DeviceOptions()
	want := "packed=on,mrg_rxbuf=off,csum=off,guest_csum=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,host_uso=off," +
		"guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_uso4=off,guest_uso6=off,host_mtu=9000"
	if got != want {
		t.Errorf("options = %s\n   want   %s", got, want)
	}
	if got := (Combination{Packed: true, Many: true, Wide: true, Jumbo: true}).String(); got != "packed, one buffer, no offloads, 4 queues, wide NIC, jumbo" {
		t.Errorf("name = %q", got)
	}
}

func TestCheckFeatures(t *testing.T) {
	const always = virtio.Version1 | virtio.IndirectDesc | virtio.EventIdx
	rich := Combination{Packed: true, Mergeable: true, Offloads: true, Many: true, Newer: true}
	all := always | virtio.RingPacked | virtio.NetMrgRxbuf | usedOffloads | virtio.NetMQ
	if err := rich.CheckFeatures(all | virtio.NetMAC); err != nil {
		t.Error(err)
	}
	if err := (Combination{}).CheckFeatures(always | virtio.NetStatus); err != nil {
		t.Error(err)
	}
	if err := rich.CheckFeatures(all | virtio.RingReset); err == nil {
		t.Error("a guest may reset its rings")
	}
	for bit := virtio.Features(1); bit != 0; bit <<= 1 {
		if all&bit == 0 {
			continue
		}
		if err := rich.CheckFeatures(all &^ bit); err == nil {
			t.Errorf("nothing is wrong with a guest that lacks %v", bit)
		}
		if err := (Combination{}).CheckFeatures(always | bit); err == nil && always&bit == 0 {
			t.Errorf("nothing is wrong with a guest that has %v unasked", bit)
		}
	}
}

func TestCheckOffloads(t *testing.T) {
	on := map[string]bool{
		"tx-checksumming": true, "tcp-segmentation-offload": true,
		"tx-tcp-segmentation": true, "tx-tcp6-segmentation": true, "highdma": true,
	}
	c := Combination{Offloads: true}
	if err := c.CheckOffloads(on); err != nil {
		t.Error(err)
	}
	if err := (Combination{}).CheckOffloads(on); err == nil || !strings.Contains(err.Error(), "tx-checksumming should be on=false") {
		t.Errorf("offloads that should be off give %v", err)
	}
	if err := c.CheckOffloads(nil); err == nil {
		t.Error("ethtool may say nothing")
	}
}
