package l2nat

import (
	"bytes"
	"encoding/binary"
	"testing"

	"vvufwd/virtio/net/packet"
	"vvufwd/virtio/net/packet/packettest"
)

// sumIsRight reports whether the checksum of a frame with UDP or ICMPv6 is, and whether it has one.
func sumIsRight(b []byte) (right, has bool) {
	f := parse(b)
	l := packet.Layout{L3: uint16(f.l3)}
	var upper []byte
	switch f.kind {
	case typeIPv4:
		ip := ip4(f.rest())
		if ip == nil {
			return false, false
		}
		upper = udp(ip)
		if upper == nil || be16(upper[udpChecksum:]) == 0 {
			return false, false
		}
		l.Protocol = protocolUDP
	case typeIPv6:
		ip := ip6(f.rest())
		if ip == nil {
			return false, false
		}
		if upper = discovery(ip); upper == nil {
			return false, false
		}
		l.Protocol, l.IPv6 = protocolICMP6, true
	default:
		return false, false
	}
	// To the end of the frame, whatever lengths say: what matters is that it stays as right as it was.
	pseudo := packettest.PseudoSum(b, l, len(upper))
	whole := packettest.Sum(append(binary.BigEndian.AppendUint16(nil, pseudo), upper...))
	return whole == 0xffff || whole == 0, true
}

func FuzzOut(f *testing.F) {
	for _, b := range outgoing(f, aMAC) {
		f.Add(b, -1)
		f.Add(b, 14+ip6Len+icmpChecksum)
	}
	f.Fuzz(func(t *testing.T, b []byte, undone int) {
		if len(b) < etherLen || len(b) > 70000 {
			return
		}
		tr := newTest()
		was := bytes.Clone(b)
		before, has := sumIsRight(b)
		v := tr.out(b[:len(b):len(b)], undone)
		if tr.table.owners.used > 2 {
			t.Errorf("a frame teaches %d addresses", tr.table.owners.used)
		}
		for i := range tr.table.owners.slots {
			if s := &tr.table.owners.slots[i]; s.full && (s.value.station != macAt(was[etherSource:]) || !s.key.ours()) {
				t.Errorf("it teaches %+v", s)
			}
		}
		if v != pass {
			return
		}
		if macAt(b[etherSource:]) != tr.card || !bytes.Equal(b[:etherSource], was[:etherSource]) {
			t.Errorf("leaves with the addresses %x", b[:12])
		}
		if after, _ := sumIsRight(b); has && undone < 0 && after != before {
			t.Errorf("the checksum was right: %v, and is: %v\n%x\n%x", before, after, was, b)
		}
		changed := 0
		for i := range b[etherLen:] {
			if b[etherLen+i] != was[etherLen+i] {
				changed++
			}
		}
		if changed > 2+6*mostNDOptions {
			t.Errorf("%d bytes are others", changed)
		}
		// A second time there is nothing left to change.
		again := bytes.Clone(b)
		if newTest().out(again, undone) == pass && !bytes.Equal(again, b) {
			t.Errorf("once\n%x, twice\n%x", b, again)
		}
	})
}

func FuzzIn(f *testing.F) {
	for _, b := range outgoing(f, hostMAC) {
		f.Add(append(bytes.Clone(cardMAC), b[6:]...))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < etherLen || len(b) > 70000 {
			return
		}
		tr := withStations(t)
		known := tr.table.owners.used
		was := bytes.Clone(b)
		if tr.in(b[:len(b):len(b)]) == pass {
			if to := macAt(b[etherDestination:]); !to.isGroup() && to != macOf(aMAC) && to != macOf(bMAC) {
				t.Errorf("goes to %x", to)
			}
			if macAt(was[etherDestination:]).isGroup() && !bytes.Equal(b[:etherSource], was[:etherSource]) {
				t.Errorf("was for a group, and goes to %x", b[:6])
			}
			same := was
			if f := parse(b); f.kind == typeARP && arp(f.rest()) != nil {
				copy(same[f.l3+arpTargetHW:], b[f.l3+arpTargetHW:f.l3+arpTarget])
			}
			if !bytes.Equal(b[etherSource:], same[etherSource:]) {
				t.Errorf("more than the destination has changed\n%x\n%x", was, b)
			}
		}
		if tr.table.owners.used != known {
			t.Error("what no station asked for teaches")
		}
	})
}

// FuzzTraffic plays frames of stations and answers, one after the other, at changing times: whatever they are,
// what is remembered stays within its bounds.
func FuzzTraffic(f *testing.F) {
	var all []byte
	for _, b := range outgoing(f, aMAC) {
		all = append(binary.BigEndian.AppendUint16(append(all, 0, 1), uint16(len(b))), b...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, script []byte) {
		l := limits{addresses: 5, stations: 3, each: 2}
		tr := newTranslator(l, testAge)
		tr.card = macOf(cardMAC)
		seconds := 0
		for len(script) >= 4 {
			n := int(be16(script[2:]))
			way, wait, frame := script[0], script[1], script[4:min(len(script), 4+n)]
			script = script[4+len(frame):]
			seconds += int(wait)
			tr.table.tick(at(seconds))
			if len(frame) < etherLen {
				continue
			}
			if way&1 == 0 {
				tr.out(frame, -1)
			} else {
				tr.in(frame)
			}
			if tr.table.owners.used > l.addresses || tr.table.stations.used > l.stations {
				t.Fatalf("%d addresses, %d stations", tr.table.owners.used, tr.table.stations.used)
			}
			have := map[mac]int{}
			for i := range tr.table.owners.slots {
				if s := &tr.table.owners.slots[i]; s.full {
					have[s.value.station]++
				}
			}
			for i := range tr.table.stations.slots {
				if s := &tr.table.stations.slots[i]; s.full && (have[s.key] != s.value || s.value > l.each) {
					t.Fatalf("a station is said to have %d addresses, and has %d", s.value, have[s.key])
				}
			}
			if len(have) != tr.table.stations.used {
				t.Fatalf("%d stations, of which %d have addresses", tr.table.stations.used, len(have))
			}
		}
	})
}
