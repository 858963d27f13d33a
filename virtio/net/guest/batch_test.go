package guest

import (
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/vring/vringtest"
)

// While frames come many at once in a packed ring, few of them are left for a few looks,
// and not for more; a full burst, and few after few, go at once.
func TestBatch(t *testing.T) {
	defer func(before bool) { packedRings = before }(packedRings)
	for _, packed := range []bool{true, false} {
		packedRings = packed
		r := newGuestRig(t, vringtest.Config{HeapBytes: 4 << 20}, running)
		var b virtionet.Burst
		// looks sends n frames and returns how many looks it takes until they come.
		looks := func(n int) int {
			t.Helper()
			for range n {
				r.transmit(t, make([]byte, 60))
			}
			for look := 1; look < 100; look++ {
				if r.Receive(&b) {
					if !b.Plain() || b.Len() != n {
						t.Fatalf("%d of %d frames, plain %v", b.Len(), n, b.Plain())
					}
					r.Release(&b, 0, n)
					r.completed()
					return look
				}
			}
			t.Fatalf("%d frames do not come", n)
			return 0
		}
		waits := 1
		if packed {
			waits = 1 + batchLooks
		}
		for i, c := range []struct{ frames, looks int }{
			{1, 1}, {7, 1}, {batchFrom, 1}, // after few
			{batchFrom, waits}, {batchSize - 1, waits}, // after many
			{batchSize, 1},
			{1, waits}, {1, 1}, {batchSize - 1, 1}, {batchSize, 1},
		} {
			if got := looks(c.frames); got != c.looks {
				t.Errorf("packed %v: burst %d, of %d frames: %d looks, want %d", packed, i, c.frames, got, c.looks)
			}
		}
	}
}

// Frames that come while others are left are taken with these.
func TestBatchTakesMore(t *testing.T) {
	defer func(before bool) { packedRings = before }(packedRings)
	packedRings = true
	r := newGuestRig(t, vringtest.Config{HeapBytes: 4 << 20}, running)
	send := func(n int) {
		for range n {
			r.transmit(t, make([]byte, 60))
		}
	}
	var b virtionet.Burst
	send(batchSize)
	if !r.Receive(&b) {
		t.Fatal("nothing comes")
	}
	r.Release(&b, 0, b.Len())
	r.completed()
	for i := range 4 {
		send(10)
		if got := r.Receive(&b); got != (i == 3) {
			t.Fatalf("after %d frames: %v", 10*(i+1), got)
		}
	}
	if b.Len() != 40 {
		t.Errorf("%d frames of 40", b.Len())
	}
}
