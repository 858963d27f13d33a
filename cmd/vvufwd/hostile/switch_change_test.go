package hostile

import (
	"fmt"
	"testing"

	"vvufwd/vvu/vhostuser"
)

// A front-end that says something new about a running ring, as QEMU does for each
// interrupt that its guest masks, is the same peer as before: where its guest's address
// is stays known. When it is gone, its address is forgotten.
func TestSwitchRemembersAPeer(t *testing.T) {
	f := startSwitch(t, func(int) string { return "" })
	guests := joinSwitch(t, f)
	want := func(when string, got []int, want ...int) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: came out at %v, want %v", when, got, want)
		}
	}
	g := guests[attackerPort] // its address is learned
	learned := stationAddress(attackerPort)
	want("broadcast", sent(t, guests, attackerPort, between(everybody, learned)), 3, 4, 5, 6, 7)
	want("at first", sent(t, guests, 4, between(learned, stationAddress(4))), attackerPort)
	for i := range g.rings {
		for range 2 { // masked, and unmasked
			if err := g.say(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(i)}, g.calls[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.say(vhostuser.SetVringEnable, vhostuser.VringState{Index: uint32(i), Num: 1}); err != nil {
			t.Fatal(err)
		}
		if err := g.barrier(); err != nil {
			t.Fatal(err)
		}
		// From a port of its own, so that it does not matter what else it had learned.
		want(fmt.Sprintf("after a new call descriptor of ring %d", i), sent(t, guests, 4, between(learned, stationAddress(4))), attackerPort)
	}
	mark := f.log.mark()
	if err := g.leave(); err != nil {
		t.Fatal(err)
	}
	f.log.await(t, mark, f.sockets[attackerPort], "disconnected")
	guests[attackerPort] = join(t, f.sockets[attackerPort])
	want("of another peer", sent(t, guests, 4, between(learned, stationAddress(4))), 2, 3, 5, 6, 7)
}
