package netfwd

import (
	"bytes"
	"slices"
	"testing"

	"vvufwd/virtio/mem"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// TestSwitchCompletesChecksums has a guest send a frame whose checksum is to be
// completed, to one that takes it so and to one that does not. The switch must leave
// the frame's headers in one piece for that.
func TestSwitchCompletesChecksums(t *testing.T) {
	var rings []*vringtest.Pair
	var guests []*guest.Port
	cfg := SwitchConfig{MACAge: testAge, MACLimit: 16}
	all := virtionet.OffloadCsum | virtionet.OffloadTSO4
	for i, takes := range []virtionet.Offloads{0, all, 0} {
		rx, tx := vringtest.NewPair(t, vringtest.Config{}), vringtest.NewPair(t, vringtest.Config{})
		g := guest.New("guest", func(ring string, err error) { t.Errorf("guest %d: %s ring: %v", i, ring, err) })
		done := make(chan struct{})
		go func() {
			g.Install(&guest.Queues{
				ToGuest: rx.Device, FromGuest: tx.Device, ToGuestEnabled: true, FromGuestEnabled: true,
				Sends: all, Takes: takes, HeaderLen: virtionet.HeaderLen,
			})
			close(done)
		}()
		for !g.Changed() {
		}
		g.Sync()
		<-done
		rings, guests = append(rings, rx, tx), append(guests, g)
		cfg.Ports = append(cfg.Ports, SwitchPort{End: End{Queues: []Port{g}}})
	}
	b, err := newSwitch(cfg)
	if err != nil {
		t.Fatal(err)
	}

	// IPv4 and UDP to everybody: the field holds the sum of the pseudo header.
	packet := append(addressOf(broadcast), addressOf(station(0))...)
	packet = append(packet, 0x08, 0x00,
		0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		0, 7, 0, 9, 0, 12, 0x14, 0x20, 'c', 's', 'u', 'm')
	header := make([]byte, virtionet.HeaderLen)
	header[0], header[6], header[8] = 1, 34, 6 // NEEDS_CSUM, csum_start, csum_offset
	sent := rings[1]
	addr, memory := sent.Alloc(len(header) + len(packet))
	copy(memory, append(header, packet...))
	if _, err := sent.Driver.Add([]vring.Part{vringtest.Part(addr, len(memory))}, nil); err != nil {
		t.Fatal(err)
	}
	sent.Driver.Publish()
	places := map[int]mem.GPA{}
	for _, i := range []int{1, 2} {
		rx := rings[2*i]
		place, _ := rx.Alloc(200)
		places[i] = place
		if _, err := rx.Driver.Add(nil, []vring.Part{vringtest.Part(place, 200)}); err != nil {
			t.Fatal(err)
		}
		rx.Driver.Publish()
	}
	if !b.step() {
		t.Fatal("nothing moved")
	}
	finished := slices.Clone(packet)
	finished[40], finished[41] = 0x12, 0xe3 // ^(0x1420 + 0x0007 + 0x0009 + 0x000c + "cs" + "um")
	for i, want := range map[int][]byte{1: packet, 2: finished} {
		rx := rings[2*i]
		var used vring.Used
		rx.Driver.Completed()
		if !rx.Driver.Take(&used) || int(used.Len) != len(header)+len(want) {
			t.Fatalf("guest %d got %d bytes, want %d; drops %v", i, used.Len, len(header)+len(want), guests[i].Counters().Drops)
		}
		got := rx.Read(places[i], int(used.Len))
		if flags := got[0]; (flags == 1) != (i == 1) {
			t.Errorf("guest %d got flags %d", i, flags)
		}
		if !bytes.Equal(got[len(header):], want) {
			t.Errorf("guest %d got\n%x, want\n%x", i, got[len(header):], want)
		}
	}
}
