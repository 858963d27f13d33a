package guest

import (
	"slices"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	"vvufwd/virtio/vring/vringtest"
)

// TestChainsGoBackInOrder has frames and drops take turns in every pattern of seven.
// Chains must come back in the order in which the guest offered them, however the
// frames are released, or IN_ORDER could not be offered.
func TestChainsGoBackInOrder(t *testing.T) {
	const chains = 7
	for pattern := range 1 << chains {
		for _, atOnce := range []int{1, 2, chains} {
			r := newGuestRig(t, vringtest.Config{}, offloading(virtionet.OffloadCsum, 0))
			var offered []uint16
			for i := range chains {
				size, header := 60, virtionet.Header{}
				switch drop := pattern>>i&1 != 0; {
				case drop && i%2 == 0:
					size = virtionet.MinFrame - 1
				case drop:
					header = virtionet.Header{Flags: virtionet.FlagNeedsCsum} // which lies
				}
				offered = append(offered, r.transmitWith(t, header, nettest.Payload(size, i)))
			}
			var frames [virtionet.MaxBurst]virtionet.Frame
			for left := r.rxFrames(frames[:]); left > 0; {
				n := min(left, atOnce)
				r.release(n)
				left -= n
			}
			if got := r.completed(); !slices.Equal(got, offered) {
				t.Fatalf("pattern %07b, %d at once: came back as %v, want %v", pattern, atOnce, got, offered)
			}
		}
	}
}

// TestAbandonedChainsGoBackInOrder gives up frames of which some are released.
func TestAbandonedChainsGoBackInOrder(t *testing.T) {
	r := newGuestRig(t, vringtest.Config{}, running)
	var offered []uint16
	for i, size := range []int{60, 60, 13, 60, 13} {
		offered = append(offered, r.transmit(t, nettest.Payload(size, i)))
	}
	var frames [virtionet.MaxBurst]virtionet.Frame
	if n := r.rxFrames(frames[:]); n != 3 {
		t.Fatalf("%d frames, want 3", n)
	}
	r.release(1)
	r.abandon()
	r.abandon() // nothing is left to give back
	if got := r.completed(); !slices.Equal(got, offered) {
		t.Errorf("came back as %v, want %v", got, offered)
	}
}
