package guest

import (
	"bytes"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring/vringtest"
)

// Which frames a filter lets through.
func TestFilterWants(t *testing.T) {
	own, other := [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}
	group, all := [6]byte{1, 0, 0x5e, 0, 0, 1}, [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	frame := func(to [6]byte, rest ...byte) []byte { return append(append(to[:], 2, 0, 0, 0, 0, 9), rest...) }
	tagged := func(to [6]byte, id uint16) []byte {
		return frame(to, 0x81, 0, 0x20|byte(id>>8), byte(id), 8, 0)
	}
	plain := func(to [6]byte) []byte { return frame(to, 8, 0, 0x45, 0) }
	table := map[Station]struct{}{StationOf(own): {}}
	some := map[Station]struct{}{StationOf(own): {}, StationOf(group): {}}
	var vlans VLANSet
	for _, id := range []uint16{5, 63, 64, 4095} {
		vlans.Add(id)
	}
	for name, tt := range map[string]struct {
		filter Filter
		frame  []byte
		want   bool
	}{
		"own":                     {Filter{Addresses: table}, plain(own), true},
		"another's":               {Filter{Addresses: table}, plain(other), false},
		"another's, all wanted":   {Filter{Addresses: table, AllUnicast: true}, plain(other), true},
		"own, none wanted":        {Filter{Addresses: table, NoUnicast: true}, plain(own), false},
		"no table":                {Filter{}, plain(own), false},
		"group":                   {Filter{Addresses: some}, plain(group), true},
		"strange group":           {Filter{Addresses: table}, plain(group), false},
		"all groups":              {Filter{Addresses: table, AllMulticast: true}, plain(group), true},
		"all groups, no stations": {Filter{Addresses: table, AllMulticast: true}, plain(other), false},
		"no groups":               {Filter{Addresses: some, NoMulticast: true}, plain(group), false},
		"broadcast":               {Filter{Addresses: table, NoMulticast: true}, plain(all), true},
		"no broadcast":            {Filter{Addresses: table, NoBroadcast: true, AllMulticast: true}, plain(all), false},
		"shortest":                {Filter{Addresses: table, VLANs: &vlans}, frame(own, 0x81, 0), true},
		"no VLAN":                 {Filter{Addresses: table, VLANs: &vlans}, plain(own), true},
		"priority alone":          {Filter{Addresses: table, VLANs: &vlans}, tagged(own, 0), true},
		"VLAN":                    {Filter{Addresses: table, VLANs: &vlans}, tagged(own, 64), true},
		"VLAN 4095":               {Filter{Addresses: table, VLANs: &vlans}, tagged(own, 4095), true},
		"strange VLAN":            {Filter{Addresses: table, VLANs: &vlans}, tagged(own, 65), false},
		"VLAN of another":         {Filter{Addresses: table, VLANs: &vlans}, tagged(other, 64), false},
		"broadcast in a VLAN":     {Filter{Addresses: table, VLANs: &vlans}, tagged(all, 6), false},
		"VLANs not filtered":      {Filter{Addresses: table}, tagged(own, 65), true},
	} {
		for size := 1; size <= len(tt.frame); size++ {
			f := virtionet.Frame{Len: len(tt.frame)}
			for rest := tt.frame; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				f.Data = append(f.Data, rest[:min(size, len(rest))])
			}
			if got := tt.filter.wants(&f); got != tt.want {
				t.Errorf("%s, in pieces of %d: %v, want %v", name, size, got, tt.want)
			}
		}
	}
	vlans.Remove(64)
	if vlans.Has(64) || !vlans.Has(63) {
		t.Error("a VLAN that was removed is still there, or another is not")
	}
}

// A guest that filters gets what it wants, in order, and each frame that it does not is
// counted once, also when there is no room for what comes after it.
func TestFilteredBurst(t *testing.T) {
	q := running
	q.Filter = &Filter{Addresses: map[Station]struct{}{StationOf([6]byte{2}): {}}}
	r := newGuestRig(t, vringtest.Config{}, q)
	frames := make([]virtionet.Frame, 16)
	var want [][]byte
	for k := range frames {
		b := nettest.Payload(60, k)
		copy(b, []byte{2, 0, 0, 0, 0, 0})
		if k%3 == 0 {
			b[5] = 1
		} else {
			want = append(want, b)
		}
		frames[k] = nettest.Frame(b)
	}
	var got [][]byte
	for rest, unwanted := frames, uint64(0); len(rest) > 0; {
		buffers := map[uint16]receiveBuffer{}
		for range 4 {
			head := r.rx.Driver.NextHead()
			buffers[head] = r.offer(t, 200)
		}
		done := r.txFrames(rest)
		for k := range done {
			if rest[k].Data[0][5] == 1 {
				unwanted++
			}
		}
		if done == 0 || r.Counters().Drops[virtionet.DropFiltered] != unwanted {
			t.Fatalf("done with %d frames, %d of all unwanted, counted %d", done, unwanted, r.Counters().Drops[virtionet.DropFiltered])
		}
		rest = rest[done:]
		data, _ := r.received(buffers)
		got = append(got, data...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i][virtionet.HeaderLen:], want[i]) {
			t.Errorf("frame %d differs", i)
		}
	}
	if c := r.Counters(); c.TxPackets != uint64(len(want)) || c.Dropped() != uint64(len(frames)-len(want)) {
		t.Errorf("counted %+v", c)
	}
}
