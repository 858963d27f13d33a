package igb

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
	r := suite.Open(t, inteltest.I82576, Driver)
	for name, c := range map[string]struct {
		off        uint64
		mask, want uint32
	}{
		"receives for anybody, long frames, without CRC": {0x100, 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<15 | 1<<26, 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<15 | 1<<26},
		"longest frame":               {0x5004, 0xffff, 9022},
		"sends":                       {0x400, 1<<1 | 1<<3, 1<<1 | 1<<3},
		"leaves VLAN tags in":         {0x000, 1 << 30, 0},
		"looks at checksums":          {0x5000, 1<<8 | 1<<9 | 1<<13, 1<<8 | 1<<9 | 1<<13},
		"a vector for each cause":     {0x1514, 1 << 4, 1 << 4},
		"vectors of queue 0":          {0x1700, 0xffff, 0x8281},
		"vectors of queue 3":          {0x170c, 0xffff, 0x8887},
		"vector of the link":          {0x1740, 0xff00, 0x8000},
		"tells of its link":           {0x1508, 1 << 2, 1 << 2},
		"does not tell of its queues": {0x1524, 0x1ff, 1},
		"one buffer, drops":           {0xc00c, 1<<31 | 7<<25 | 0x7f, 1<<31 | 1<<25 | 2},
		"receive queue 3":             {0xc0e8, 1 << 25, 1 << 25},
		"transmit queue 3":            {0xe0e8, 1 << 25, 1 << 25},
		"no fifth queue":              {0xc128, 1 << 25, 0},
		"RSS":                         {0x5818, 7, 2},
		"ICR is clear once read":      {0x1514, 1, 1},
		"semaphores are given back":   {0x5b50, 3, 0},
		"the PHY is given back":       {0x5b5c, ^uint32(0), 0},
	} {
		if got := r.Peek(c.off) & c.mask; got != c.want {
			t.Errorf("%s: register 0x%x has 0x%x, want 0x%x", name, c.off, got, c.want)
		}
	}
	if i := r.Card.Info(); i.Name != "igb:0000:00:04.0" || i.MTU != 9000 || len(r.Card.Queues()) != 4 {
		t.Errorf("%+v", i)
	}
	if r.Negotiation != 1 {
		t.Errorf("the PHY was told to negotiate %d times: there is no link without", r.Negotiation)
	}
}

// TestEveryQueue has frames arrive at each queue, and be sent from each.
func TestEveryQueue(t *testing.T) {
	r := suite.Open(t, inteltest.I82576, Driver)
	for i, q := range r.Card.Queues() {
		if want := 32 - 1 + 32; r.Room(i) != want {
			t.Errorf("queue %d has room for %d frames, want %d", i, r.Room(i), want)
		}
		q.EnableKicks(false)
		if r.Receive(i, make([]byte, 60), inteltest.Arrival{}); !r.Fired(1 + 2*i) {
			t.Errorf("no interrupt of queue %d", i)
		}
		if frames, _ := q.EnableKicks(false); !frames {
			t.Errorf("nothing arrives at queue %d", i)
		}
	}
}

// TestOtherChips have their vectors in other places.
func TestOtherChips(t *testing.T) {
	for _, c := range []struct {
		device      uint16
		queue       int
		at          uint64
		shift, most int
	}{
		{0x10c9, 7, 0x171c, 0, 8}, {0x1521, 0, 0x1700, 0, 8}, {0x1521, 1, 0x1700, 16, 8}, {0x1521, 7, 0x170c, 16, 8}, {0x1533, 2, 0x1704, 0, 4}, {0x1539, 1, 0x1700, 16, 2},
	} {
		m := modelOf(c.device)
		if at, shift := m.ivar(c.queue); at != c.at || shift != c.shift || m.pairs != c.most {
			t.Errorf("%04x, queue %d: 0x%x, bit %d, %d pairs", c.device, c.queue, at, shift, m.pairs)
		}
	}
	if at, shift := modelOf(0x10c9).ivar(9); at != 0x1704 || shift != 16 {
		t.Errorf("82576, queue 9: 0x%x, bit %d", at, shift)
	}
}

// TestLaterChips have a PHY that may have been switched off.
func TestLaterChips(t *testing.T) {
	for device, later := range map[uint16]bool{0x10c9: false, 0x1521: true, 0x1533: true} {
		f := inteltest.NewFunction(t, inteltest.I82576)
		f.Config().Store16(2, device)
		f.Keep[0xe14] = 1<<5 | 1<<2
		suite.OpenFunction(t, f, Driver)
		if off := f.Peek(0xe14)&(1<<5) != 0; off == later || f.Peek(0xe14)&(1<<2) == 0 {
			t.Errorf("%04x: PHPM is 0x%x", device, f.Peek(0xe14))
		}
	}
}

// TestDropsAreCounted as often as they happen: the counters of some chips go on when they have
// been read, those of others begin again.
func TestDropsAreCounted(t *testing.T) {
	for device, want := range map[uint16]uint64{0x10c9: 12, 0x1521: 12, 0x1533: 7} {
		f := inteltest.NewFunction(t, inteltest.I82576)
		f.Config().Store16(2, device)
		f.DropsGoOn = device == 0x1533
		r := suite.OpenFunction(t, f, Driver)
		for _, n := range []uint32{5, 7} { // since the last time, or in all
			f.Poke(0xc030, n)
			r.Card.Statistics()
		}
		found := false
		for _, s := range r.Card.Statistics() {
			if found = found || s.Name == "rx_dropped_q0"; s.Name == "rx_dropped_q0" && s.Value != want {
				t.Errorf("%04x: %d frames were dropped, want %d", device, s.Value, want)
			}
		}
		if !found {
			t.Errorf("%04x: no such counter", device)
		}
	}
}

func TestSpread(t *testing.T) {
	r := suite.Open(t, inteltest.I82576, Driver)
	for pairs, want := range map[int]uint32{4: 0x03020100, 2: 0x01000100, 1: 0, 9: 0x03020100} {
		if err := r.Card.Spread(pairs); err != nil {
			t.Fatal(err)
		}
		for off := uint64(0x5c00); off < 0x5c80; off += 4 {
			if got := r.Peek(off); got != want {
				t.Fatalf("%d pairs: entries 0x%08x at 0x%x, want 0x%08x", pairs, got, off, want)
			}
		}
	}
}

// TestStuck has a chip that does not do what it should, without end.
func TestStuck(t *testing.T) {
	for what, want := range map[string]string{"reset": "reset", "phy": "PHY", "phy error": "PHY", "enable": "receive queue 0", "owner": "firmware"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := inteltest.NewFunction(t, inteltest.I82576)
			f.Stuck[what] = true
			_, err := Driver.Open(f, suite.Config(f))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q in it", err, want)
			}
			if f.Room(0) != 0 && what != "reset" {
				t.Error("it receives")
			}
		})
	}
}

// TestLeftSemaphore was left by a driver that was ended in the midst of its work.
func TestLeftSemaphore(t *testing.T) {
	f := inteltest.NewFunction(t, inteltest.I82576)
	card, err := Driver.Open(f, suite.Config(f))
	if err != nil {
		t.Fatal(err)
	}
	f.Poke(0x5b50, 1)
	if err := card.(interface {
		owningPHY(func() error) error
	}).owningPHY(func() error { return nil }); err != nil {
		t.Error(err)
	}
	f.Poke(0x5b5c, 1<<17) // the firmware has the PHY
	err = card.(interface {
		owningPHY(func() error) error
	}).owningPHY(func() error { t.Error("used"); return nil })
	if err == nil {
		t.Error("the PHY is used while the firmware has it")
	}
}

// TestResetFromOutside is found out.
func TestResetFromOutside(t *testing.T) {
	r := suite.Open(t, inteltest.I82576, Driver)
	r.Lost()
	if err := r.Card.Watch(t.Context(), func(bool) {}); !errors.Is(err, intel.ErrForgetful) {
		t.Errorf("error %v", err)
	}
}
