package main

import (
	"slices"
	"testing"

	"vvufwd/virtio/net/guest"
)

// linkGuest records what its link was told.
type linkGuest struct {
	guestEnd
	told []bool
}

func (g *linkGuest) SetLink(up bool)      { g.told = append(g.told, up) }
func (g *linkGuest) Ports() []*guest.Port { return nil }

func TestFollowLinks(t *testing.T) {
	guests := []*linkGuest{{}, {}, {}}
	nics := []*port{{link: true}, {link: false}, {link: false}}
	f := &forwarder{}
	for i := range guests {
		f.ports = append(f.ports, nics[i], &port{guest: guests[i]})
	}
	expect := func(want ...[]bool) {
		t.Helper()
		for i, g := range guests {
			if !slices.Equal(g.told, want[i]) {
				t.Errorf("guest %d was told %v, want %v", i, g.told, want[i])
			}
			g.told = nil
		}
	}
	f.followLinks(&options{})
	expect(nil, []bool{false}, []bool{false})
	nics[0].onLink(false)
	nics[2].onLink(true)
	expect([]bool{false}, nil, []bool{true})

	f.followLinks(&options{switched: true})
	expect(nil, nil, nil) // one NIC is up
	nics[1].onLink(true)
	nics[0].onLink(false)
	expect(nil, nil, nil)
	nics[1].onLink(false)
	expect([]bool{false}, []bool{false}, []bool{false})
	nics[2].onLink(true)
	expect([]bool{true}, []bool{true}, []bool{true})
	follow(f.ports[1:2]) // without any NIC nothing happens
	expect(nil, nil, nil)
}
