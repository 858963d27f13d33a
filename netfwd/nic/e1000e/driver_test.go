package e1000e

import (
	"errors"
	"strings"
	"testing"

	"vvufwd/netfwd/nic/intel"
	"vvufwd/netfwd/nic/intel/inteltest"
	"vvufwd/netfwd/nic/intel/inteltest/suite"
)

// TestOpen looks at what the chip was told.
func TestOpen(t *testing.T) {
	r := suite.Open(t, inteltest.I82574, Driver)
	for name, c := range map[string]struct {
		off        uint64
		mask, want uint32
	}{
		"receives for anybody, long frames, without CRC": {0x100, 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<15 | 3<<16 | 1<<26, 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<15 | 1<<26},
		"sends":                        {0x400, 1<<1 | 1<<3, 1<<1 | 1<<3},
		"leaves VLAN tags in":          {0x000, 1 << 30, 0},
		"extended descriptors":         {0x5008, 1 << 15, 1 << 15},
		"looks at checksums":           {0x5000, 1<<8 | 1<<9 | 1<<13, 1<<8 | 1<<9 | 1<<13},
		"vectors":                      {0xe4, 0xfffff, 0x8cab9},
		"forgets what it has told":     {0xdc, 0x1f00000, 0x1f00000},
		"tells of its link":            {0xd0, 1<<24 | 1<<2, 1<<24 | 1<<2},
		"does not tell of its queues":  {0xd0, 0xf00000, 0},
		"bus master":                   {0x000, 1 << 2, 0},
		"firmware knows of the driver": {0x018, 1 << 28, 1 << 28},
		"RSS":                          {0x5818, 3, 1},
		"arbitration of queues":        {0x3840, 0x1f<<26 | 1<<10, 1<<26 | 1<<10},
		"errata, CTRL":                 {0x000, 1 << 29, 0},
		"errata, CTRL_EXT":             {0x018, 3 << 22, 1 << 22},
		"errata of PCI Express":        {0x5b00, 1<<27 | 1<<22, 1<<27 | 1<<22},
		"errata of PCI Express, 2":     {0x5b64, 1, 1},
		"MDIO is given back":           {0xf00, 1 << 5, 0},
	} {
		if got := r.Peek(c.off) & c.mask; got != c.want {
			t.Errorf("%s: register 0x%x has 0x%x, want 0x%x", name, c.off, got, c.want)
		}
	}
	if i := r.Card.Info(); i.Name != "e1000e:0000:00:04.0" || i.MAC.String() != "52:54:00:00:00:04" || i.MTU != 9000 || len(r.Card.Queues()) != 2 {
		t.Errorf("%+v", i)
	}
	if r.Negotiation != 0 {
		t.Error("the PHY was told to negotiate although there is a link")
	}
	if r.Unowned {
		t.Error("reset while the PHY was the firmware's")
	}
}

// TestLinkIsNegotiated starts without a link.
func TestLinkIsNegotiated(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82574)
	f.SetLink(false)
	r := suite.OpenFunction(t, f, Driver)
	if r.Negotiation != 1 || r.Peek(0xf00)&(1<<5) != 0 {
		t.Errorf("negotiated %d times", r.Negotiation)
	}
}

func TestSpread(t *testing.T) {
	r := suite.Open(t, inteltest.I82574, Driver)
	for _, pairs := range []int{2, 1, 5, 0} {
		if err := r.Card.Spread(pairs); err != nil {
			t.Fatal(err)
		}
		second := uint32(0x80008000)
		if pairs < 2 {
			second = 0
		}
		for off := uint64(0x5c00); off < 0x5c80; off += 4 {
			if got := r.Peek(off); got != second {
				t.Fatalf("%d pairs: entries 0x%08x at 0x%x, want 0x%08x", pairs, got, off, second)
			}
		}
	}
}

// TestStuck has a chip that does not do what it should, without end.
func TestStuck(t *testing.T) {
	for what, want := range map[string]string{"reset": "reset", "phy": "PHY", "phy error": "PHY", "owner": "firmware"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := inteltest.NewFunction(t, inteltest.I82574)
			f.SetLink(false)
			f.Stuck[what] = true
			_, err := Driver.Open(f, suite.Config(f))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q in it", err, want)
			}
		})
	}
}

func TestNoAddress(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82574)
	f.MAC = [6]byte{}
	if _, err := Driver.Open(f, suite.Config(f)); err == nil || !strings.Contains(err.Error(), "no hardware address") {
		t.Errorf("error %v", err)
	}
}

// TestResetFromOutside is found out.
func TestResetFromOutside(t *testing.T) {
	r := suite.Open(t, inteltest.I82574, Driver)
	r.Lost()
	if err := r.Card.Watch(t.Context(), func(bool) {}); !errors.Is(err, intel.ErrForgetful) {
		t.Errorf("error %v", err)
	}
}

func TestStatistics(t *testing.T) {
	r := suite.Open(t, inteltest.I82574, Driver)
	for range 3 {
		r.Receive(0, make([]byte, 60), inteltest.Arrival{})
		r.Card.Statistics()
	}
	for _, s := range r.Card.Statistics() {
		if want := uint64(3); s.Name == "rx_good_packets" && s.Value != want {
			t.Errorf("%s = %d, want %d", s.Name, s.Value, want)
		}
	}
}
