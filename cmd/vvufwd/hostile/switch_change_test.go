package hostile

import (
	"fmt"
	"strings"
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
	want("broadcast", sent(t, guests, attackerPort, between(everyone, learned)), 3, 4, 5, 6, 7)
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

// Two guests with one address, such as the one that their monitor gives to all, are told
// of in the log, by the names of their ports: once, however often they speak.
func TestSwitchTellsOfAnAddressThatTwoHave(t *testing.T) {
	f := startSwitch(t, func(int) string { return "" })
	guests := map[int]*guest{}
	for port := range firstGuest { // those without addresses of their own
		guests[port] = join(t, f.sockets[port])
		t.Cleanup(func() { guests[port].leave() })
	}
	both := [6]byte{0x52, 0x54, 0x00, 0x12, 0x34, 0x56} // QEMU's
	mark := f.log.mark()
	say := func(rounds int) {
		t.Helper()
		for range rounds {
			for port := range 2 {
				for port := range guests {
					if err := guests[port].drain(); err != nil {
						t.Fatal(err)
					}
				}
				one := between(everyone, both)
				if err := guests[port].sendWithin(patience, one); err != nil {
					t.Fatal(err)
				}
				if _, err := guests[1-port].awaitFrame(patience, func(b []byte) bool { return string(b) == string(one) }); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	say(2)
	told := func() []entry { return f.log.find(mark, says("", "the same source address")) }
	eventually(t, "the log tells of an address that two have", func() bool { return len(told()) > 0 })
	say(100)
	// What is told is told in order: with a second address the first is done with.
	both[5]++
	say(2)
	eventually(t, "the log tells of the second address", func() bool { return len(told()) == 2 })
	for i, address := range []string{"52:54:00:12:34:56", "52:54:00:12:34:57"} {
		if e := told()[i]; e.Address != address || len(e.Ports) != 2 ||
			!strings.HasSuffix(e.Ports[0], f.sockets[0]) && !strings.HasSuffix(e.Ports[0], f.sockets[1]) || e.Ports[0] == e.Ports[1] {
			t.Errorf("told of %+v", e)
		}
	}
}
