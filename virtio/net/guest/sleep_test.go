package guest

import (
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring/vringtest"
)

// A frame that takes more buffers than there are lets the forwarder sleep: those that it has
// seen are no work. The next one is kicked for, and one that came before the wish is found.
func TestTooFewBuffersAreNoWork(t *testing.T) {
	bothRings(t, func(t *testing.T) {
		for _, eventIdx := range []bool{false, true} {
			cfg := vringtest.Config{Size: 8, EventIdx: eventIdx}
			from, to := newGuestRig(t, cfg, running), newGuestRig(t, cfg, running)
			blocked := func() (n int) {
				t.Helper()
				from.send(t, nettest.Payload(250, 1))
				var b virtionet.Burst
				if !from.Receive(&b) || !b.Plain() {
					t.Fatal("the frame is not plain")
				}
				n = to.Transmit(&b, 0, 1)
				from.Release(&b, 0, 1)
				from.completed()
				return n
			}
			to.offer(t, 100)
			to.txFrames(nil) // sees that there are buffers
			for round := range 20 {
				if round > 0 {
					to.offer(t, 100)
				}
				to.offer(t, 100)
				to.DisableKicks()
				if n := blocked(); n != 0 {
					t.Fatalf("round %d: sent into 2 buffers of 100 bytes", round)
				}
				if _, room := to.EnableKicks(true); room {
					t.Fatalf("round %d: EVENT_IDX %v: no one sleeps while there are too few buffers", round, eventIdx)
				}
				to.rx.Driver.NeedKick()
				to.offer(t, 100)
				if !to.rx.Driver.NeedKick() {
					t.Fatalf("round %d: EVENT_IDX %v: the buffer that was awaited is not kicked for", round, eventIdx)
				}
				to.DisableKicks()
				if n := blocked(); n != 1 {
					t.Fatalf("round %d: no room in 3 buffers", round)
				}
				to.reclaim()
			}
			to.offer(t, 100)
			blocked()
			to.offer(t, 200)
			if _, room := to.EnableKicks(true); !room {
				t.Errorf("EVENT_IDX %v: a buffer that came before the wish for kicks is not found", eventIdx)
			}
		}
	})
}

// A ring that is found broken by a look for plain buffers, or by the last look before a sleep, is
// reported then: nothing may ever look at it again.
func TestBrokenRingIsReportedWhoeverFindsIt(t *testing.T) {
	for name, find := range map[string]func(t *testing.T, from, to *guestRig){
		"receive": func(t *testing.T, from, to *guestRig) {
			to.rx.Raw.SetAvailIdx(1000)
			for i := range 2 { // one more than it has seen buffers
				from.send(t, nettest.Payload(60, i))
			}
			var b virtionet.Burst
			if !from.Receive(&b) || to.Transmit(&b, 0, 2) != 2 {
				t.Error("a frame waits for a broken ring")
			}
		},
		"receive, before a sleep": func(t *testing.T, _, to *guestRig) {
			to.rx.Raw.SetAvailIdx(1000)
			to.EnableKicks(true)
		},
		"transmit, before a sleep": func(t *testing.T, _, to *guestRig) {
			to.tx.Raw.SetAvailIdx(1000)
			to.EnableKicks(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := newGuestRig(t, vringtest.Config{Size: 8}, running), newGuestRig(t, vringtest.Config{Size: 8}, running)
			to.offer(t, 100)
			to.txFrames(nil)
			find(t, from, to)
			if len(to.failures) != 1 {
				t.Errorf("reported %q, want one ring", to.failures)
			}
		})
	}
}
