package pci

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// configWith builds a configuration space with a capability list that starts at
// first; bytes are placed at their offsets.
func configWith(first byte, at map[int][]byte) []byte {
	config := make([]byte, 256)
	config[OffsetStatus] = statusCapabilityList
	config[offsetCapabilities] = first
	for offset, b := range at {
		copy(config[offset:], b)
	}
	return config
}

// typical is a list like QEMU's, not in the order of offsets.
func typical() []byte {
	return configWith(0x98, map[int][]byte{
		0x98: {CapMSIX, 0x84, 0x02, 0x80},
		0x84: {CapVendor, 0x70, 20, 2, 4},
		0x70: {CapVendor, 0x40, 16, 1, 4},
		0x40: {CapExpress, 0xc8, 0x02, 0x00},
		0xc8: {CapMSI, 0xe0, 0x80, 0x01},
		0xe0: {CapPowerManagement, 0x00},
	})
}

func TestCapabilities(t *testing.T) {
	list, err := Capabilities(typical())
	if err != nil {
		t.Fatal(err)
	}
	type summary struct {
		ID             uint8
		Offset, Length int
	}
	var got []summary
	for _, c := range list {
		got = append(got, summary{c.ID, c.Offset, len(c.Bytes)})
	}
	want := []summary{
		{CapMSIX, 0x98, 12}, {CapVendor, 0x84, 20}, {CapVendor, 0x70, 16}, {CapExpress, 0x40, 0xc0},
		{CapMSI, 0xc8, 24}, {CapPowerManagement, 0xe0, 8},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(list[1].Bytes[:5], []byte{CapVendor, 0x70, 20, 2, 4}) {
		t.Errorf("bytes of the second: %v", list[1].Bytes)
	}
}

func TestNoCapabilities(t *testing.T) {
	config := typical()
	config[OffsetStatus] = 0
	if list, err := Capabilities(config); len(list) != 0 || err != nil {
		t.Errorf("the status bit is not heeded: %v, %v", list, err)
	}
	if list, err := Capabilities(configWith(0, nil)); len(list) != 0 || err != nil {
		t.Errorf("an empty list: %v, %v", list, err)
	}
}

func TestBrokenCapabilityLists(t *testing.T) {
	for name, config := range map[string][]byte{
		"circle of one":       configWith(0x40, map[int][]byte{0x40: {1, 0x40}}),
		"circle of two":       configWith(0x40, map[int][]byte{0x40: {1, 0x50}, 0x50: {1, 0x42}}),
		"into the header":     configWith(0x40, map[int][]byte{0x40: {1, 0x10}}),
		"first in the header": configWith(0x04, nil),
		"behind the end":      configWith(0xf0, nil)[:0x80],
		"vendor too long":     configWith(0xf8, map[int][]byte{0xf8: {CapVendor, 0, 16}}),
		"vendor without end":  configWith(0x40, map[int][]byte{0x40: {CapVendor, 0, 2}}),
		"MSI-X too long":      configWith(0xf8, map[int][]byte{0xf8: {CapMSIX, 0}}),
		"space too short":     make([]byte, 63),
		"cut after the id":    configWith(0x40, map[int][]byte{0x40: {CapVendor, 0, 16}})[:0x42],
		"MSI cut":             configWith(0x40, map[int][]byte{0x40: {CapMSI, 0}})[:0x43],
	} {
		if list, err := Capabilities(config); err == nil {
			t.Errorf("%s: not noticed, %d capabilities", name, len(list))
		}
	}
	// What came before the fault is kept.
	list, err := Capabilities(configWith(0x40, map[int][]byte{0x40: {CapPowerManagement, 0x10}}))
	if err == nil || len(list) != 1 {
		t.Errorf("%d capabilities, error %v", len(list), err)
	}
}

// FuzzCapabilities: whatever a device shows, the walk ends, and what it returns lies
// within the space, behind the header, each entry at an offset of its own.
func FuzzCapabilities(f *testing.F) {
	f.Add(typical())
	f.Add(configWith(0x40, map[int][]byte{0x40: {1, 0x50}, 0x50: {1, 0x40}}))
	f.Add(configWith(0xfc, map[int][]byte{0xfc: {CapVendor, 0, 4, 8}}))
	f.Add(bytes.Repeat([]byte{0xff}, 4096))
	f.Fuzz(func(t *testing.T, config []byte) {
		before := bytes.Clone(config)
		list, _ := Capabilities(config)
		if !bytes.Equal(before, config) {
			t.Fatal("the walk changed the configuration space")
		}
		seen := map[int]bool{}
		for _, c := range list {
			end := c.Offset + len(c.Bytes)
			if c.Offset < headerSize || end > min(len(config), legacySize) || len(c.Bytes) < 2 || seen[c.Offset] || c.Bytes[0] != c.ID {
				t.Fatalf("bad capability %+v", c)
			}
			seen[c.Offset] = true
		}
	})
}
