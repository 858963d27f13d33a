package control

import (
	"encoding/binary"
	"testing"

	"vvufwd/virtio"
	"vvufwd/virtio/net/guest"
)

// tableCommand is MAC_TABLE_SET of so many unicast and multicast addresses.
func tableCommand(unicast, multicast int) []byte {
	b := []byte{classMAC, macTableSet}
	for kind, n := range []int{unicast, multicast} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		for i := range n {
			mac := address(i, kind == 1)
			b = append(b, mac[:]...)
		}
	}
	return b
}

func address(i int, multicast bool) [6]byte {
	mac := [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)}
	if multicast {
		mac[0] |= 1
	}
	return mac
}

var ownAddress = [6]byte{2, 9, 9, 9, 9, 9}

// bench is settings of a device with an address.
type bench struct {
	*Settings
	own   [6]byte
	fixed bool
}

func newBench(features virtio.Features) *bench {
	b := &bench{own: ownAddress}
	b.Settings = New(Config{Features: features, MaxPairs: 8, SetMAC: func(mac [6]byte) bool {
		if !b.fixed {
			b.own = mac
		}
		return !b.fixed
	}})
	return b
}

func (b *bench) do(command ...byte) bool {
	d := newData([][]byte{command[2:]})
	if len(command) == 2 {
		d = newData(nil)
	}
	return b.Do(command[0], command[1], &d)
}

// Which commands are taken, and with what.
func TestAcknowledgements(t *testing.T) {
	all := Features | virtio.NetMQ | virtio.NetGuestAnnounce
	for name, tt := range map[string]struct {
		features virtio.Features
		command  []byte
		want     bool
	}{
		"promiscuous":             {all, []byte{0, 0, 1}, true},
		"all multicast":           {all, []byte{0, 1, 0}, true},
		"all unicast":             {all, []byte{0, 2, 1}, true},
		"no multicast":            {all, []byte{0, 3, 1}, true},
		"no unicast":              {all, []byte{0, 4, 1}, true},
		"no broadcast":            {all, []byte{0, 5, 1}, true},
		"mode 6":                  {all, []byte{0, 6, 1}, false},
		"mode neither on nor off": {all, []byte{0, 0, 2}, false},
		"mode without a value":    {all, []byte{0, 0}, false},
		"mode with two":           {all, []byte{0, 0, 1, 1}, false},
		"modes without CTRL_RX":   {all &^ virtio.NetCtrlRX, []byte{0, 0, 1}, false},
		"modes without RX_EXTRA":  {all &^ virtio.NetCtrlRXExtra, []byte{0, 1, 1}, true},
		"extra modes without it":  {all &^ virtio.NetCtrlRXExtra, []byte{0, 2, 1}, false},

		"table":                 {all, tableCommand(2, 3), true},
		"empty table":           {all, tableCommand(0, 0), true},
		"table without CTRL_RX": {all &^ virtio.NetCtrlRX, tableCommand(0, 0), false},
		"table cut":             {all, tableCommand(2, 3)[:39], false},
		"table and more":        {all, append(tableCommand(2, 3), 0), false},
		"table of one list":     {all, tableCommand(2, 0)[:18], false},
		"table of 2^32-1":       {all, []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, false},
		"long table":            {all, tableCommand(5000, 5000), true},

		"address":              {all, []byte{1, 1, 2, 0, 0, 0, 0, 1}, true},
		"address without bit":  {all &^ virtio.NetCtrlMACAddr, []byte{1, 1, 2, 0, 0, 0, 0, 1}, false},
		"multicast address":    {all, []byte{1, 1, 3, 0, 0, 0, 0, 1}, false},
		"no address":           {all, []byte{1, 1, 0, 0, 0, 0, 0, 0}, false},
		"address of 5":         {all, []byte{1, 1, 2, 0, 0, 0, 1}, false},
		"address of 7":         {all, []byte{1, 1, 2, 0, 0, 0, 0, 1, 0}, false},
		"unknown address":      {all, []byte{1, 2, 2, 0, 0, 0, 0, 1}, false},
		"vlan":                 {all, []byte{2, 0, 5, 0}, true},
		"vlan 4095":            {all, []byte{2, 1, 0xff, 0x0f}, true},
		"vlan 4096":            {all, []byte{2, 0, 0, 0x10}, false},
		"vlan of a byte":       {all, []byte{2, 0, 5}, false},
		"vlan of 3 bytes":      {all, []byte{2, 0, 5, 0, 0}, false},
		"unknown vlan":         {all, []byte{2, 2, 5, 0}, false},
		"vlan without bit":     {all &^ virtio.NetCtrlVLAN, []byte{2, 0, 5, 0}, false},
		"announced":            {all, []byte{3, 0}, true},
		"announced with data":  {all, []byte{3, 0, 0}, false},
		"unknown announcement": {all, []byte{3, 1}, false},
		"announced in vain":    {all &^ virtio.NetGuestAnnounce, []byte{3, 0}, false},
		"pairs":                {all, []byte{4, 0, 8, 0}, true},
		"no pairs":             {all, []byte{4, 0, 0, 0}, false},
		"too many pairs":       {all, []byte{4, 0, 9, 0}, false},
		"256 pairs":            {all, []byte{4, 0, 0, 1}, false},
		"pairs of a byte":      {all, []byte{4, 0, 1}, false},
		"pairs of 4 bytes":     {all, []byte{4, 0, 1, 0, 0, 0}, false},
		"RSS":                  {all, []byte{4, 1, 1, 0}, false},
		"pairs without MQ":     {all &^ virtio.NetMQ, []byte{4, 0, 1, 0}, false},
		"offloads":             {all, []byte{5, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		"class 255":            {all, []byte{255, 255}, false},
	} {
		if got := newBench(tt.features).do(tt.command...); got != tt.want {
			t.Errorf("%s: acknowledged %v, want %v", name, got, tt.want)
		}
	}
	b := newBench(all)
	b.fixed = true
	if b.do(1, 1, 2, 0, 0, 0, 0, 1) || b.own != ownAddress {
		t.Errorf("a fixed address became %x", b.own)
	}
}

// What was asked for is so.
func TestSettings(t *testing.T) {
	b := newBench(Features | virtio.NetMQ)
	if b.Pairs() != 1 || b.Filter(b.own) != nil {
		t.Errorf("a fresh device takes frames at %d pairs, of %v", b.Pairs(), b.Filter(b.own))
	}
	b.do(4, 0, 5, 0)
	b.do(4, 0, 9, 0)
	if b.Pairs() != 5 {
		t.Errorf("%d pairs, want 5", b.Pairs())
	}
	b.do(0, 0, 0) // as Linux begins
	b.do(tableCommand(2, 1)...)
	b.do(2, 0, 5, 0)
	b.do(2, 0, 6, 0)
	b.do(2, 1, 6, 0)
	f := b.Filter(b.own)
	for _, a := range [][6]byte{ownAddress, address(0, false), address(1, false), address(0, true)} {
		if _, ok := f.Addresses[guest.StationOf(a)]; !ok {
			t.Errorf("%x is not let in", a)
		}
	}
	if len(f.Addresses) != 4 || f.AllMulticast || f.AllUnicast || f.NoBroadcast || f.NoMulticast || f.NoUnicast {
		t.Errorf("filter %+v", f)
	}
	if !f.VLANs.Has(5) || f.VLANs.Has(6) || f.VLANs.Has(7) {
		t.Errorf("VLANs %v", f.VLANs)
	}
	b.do(2, 0, 7, 0)
	if f.VLANs.Has(7) {
		t.Error("a filter in use was changed")
	}
	b.do(1, 1, 2, 0, 0, 0, 0, 42)
	f = b.Filter(b.own)
	if _, ok := f.Addresses[guest.StationOf([6]byte{2, 0, 0, 0, 0, 42})]; !ok || len(f.Addresses) != 4 {
		t.Errorf("after a new address: %v", f.Addresses)
	}
	if f = b.Filter([6]byte{}); !f.AllUnicast {
		t.Error("whose address is not known gets no frames")
	}
	b.do(tableCommand(1, maxAddresses+1)...)
	if f = b.Filter(b.own); f.AllUnicast || !f.AllMulticast {
		t.Errorf("too many multicast addresses: %+v", f)
	}
	b.do(tableCommand(maxAddresses, maxAddresses)...) // its own is one of them
	if f = b.Filter(b.own); f.AllUnicast || f.AllMulticast || len(f.Addresses) != 2*maxAddresses {
		t.Errorf("as many addresses as can be: %d, all %v, %v", len(f.Addresses), f.AllUnicast, f.AllMulticast)
	}
	for command, got := range []func(*guest.Filter) bool{
		rxAllMulti: func(f *guest.Filter) bool { return f.AllMulticast }, rxAllUni: func(f *guest.Filter) bool { return f.AllUnicast },
		rxNoMulti: func(f *guest.Filter) bool { return f.NoMulticast }, rxNoUni: func(f *guest.Filter) bool { return f.NoUnicast },
		rxNoBroadcast: func(f *guest.Filter) bool { return f.NoBroadcast },
	} {
		if got == nil {
			continue
		}
		for _, on := range []byte{1, 0} {
			b.do(0, byte(command), on)
			if got(b.Filter(b.own)) != (on == 1) {
				t.Errorf("mode %d is not %d", command, on)
			}
		}
	}
	b.do(0, 0, 1)
	if b.Filter(b.own) != nil {
		t.Error("a promiscuous device filters")
	}
}

// A guest that may have set anything misses nothing: what later commands rule out alone.
func TestUnknownSettings(t *testing.T) {
	s := Unknown(Config{Features: Features | virtio.NetMQ, MaxPairs: 8})
	b := &bench{Settings: s, own: ownAddress}
	if s.Pairs() != 8 || s.Filter(ownAddress) != nil {
		t.Errorf("%d pairs, filter %v", s.Pairs(), s.Filter(ownAddress))
	}
	b.do(0, 0, 0)
	b.do(2, 0, 5, 0)
	if f := s.Filter(ownAddress); !f.AllUnicast || !f.AllMulticast || f.VLANs != nil {
		t.Errorf("addresses and VLANs that no one knows are kept out: %+v", f)
	}
	b.do(tableCommand(1, 1)...)
	if f := s.Filter(ownAddress); f.AllUnicast || f.AllMulticast || len(f.Addresses) != 3 {
		t.Errorf("after a table: %+v", f)
	}
}
