package port

import (
	"errors"
	"testing"

	"vvufwd/virtio/vring"
)

// use marks a descriptor of a packed ring as used, as a device does.
func (p *pair) use(pos, id uint16, n uint32) {
	length, state := p.shared.tailOf(int(pos & p.mask))
	*length = n
	*state = uint32(id) | uint32(p.wrap(pos)*(vring.DescAvail|vring.DescUsed))<<16
}

// A device may use the buffers of a packed ring in any order. Each position then takes
// the buffer that was used there.
func TestPackedRingOutOfOrder(t *testing.T) {
	p := newPair(t, true, ringMode{packed: true})
	var pos uint16
	for lap := range 5 {
		slots := p.offer(testEntries)
		for i := range slots {
			at := (pos + uint16(i)) & p.mask
			want := uint64(guestBase + p.at.buffers + int(slots[i])*p.at.stride + headerAt)
			if got := p.shared.desc[at]; got[0] != want || uint16(got[1]>>32) != slots[i] || uint32(got[1]) != p.length {
				t.Fatalf("lap %d: position %d is %x, want slot %d at %x", lap, at, got, slots[i], want)
			}
		}
		for i := range slots {
			p.use(pos+uint16(i), slots[(i*5+lap)%testEntries], uint32(i+1))
		}
		if n := p.look(); n != testEntries {
			t.Fatalf("lap %d: look sees %d", lap, n)
		}
		for i := range slots {
			if slot, n, ok := p.take(); !ok || slot != slots[(i*5+lap)%testEntries] || n != uint32(i+1) {
				t.Fatalf("lap %d: took slot %d with %d bytes: %v", lap, slot, n, p.fault)
			}
		}
		pos += testEntries
	}
}

// A used descriptor that cannot be faults the ring.
func TestPackedRingRefusesLies(t *testing.T) {
	for name, tc := range map[string]struct {
		id   uint16
		n    uint32
		want error
	}{
		"id outside the ring": {testEntries, 20, vring.FaultUsedID}, "id that is not held": {9, 20, vring.FaultUsedID},
		"longer than the buffer": {0, 129, vring.FaultUsedLen},
	} {
		p := newPair(t, true, ringMode{packed: true})
		p.offer(4)
		p.use(0, tc.id, tc.n)
		if n := p.look(); n != 1 {
			t.Errorf("%s: look sees %d", name, n)
		}
		if _, _, ok := p.take(); ok || !errors.Is(p.fault, tc.want) {
			t.Errorf("%s: taken %v, fault %v", name, ok, p.fault)
		}
		if p.look() != 0 {
			t.Errorf("%s: a ring with a fault hands out buffers", name)
		}
	}
}
