package netfwd

import (
	"slices"
	"testing"
	"time"

	virtionet "vvufwd/virtio/net"
)

// A guest that starts and stops queue pairs all the time makes a NIC change twice, not
// all the time; one that stops some for good makes it change once more.
func TestSpreadIsCalm(t *testing.T) {
	guest := []*fakePort{{}, {}, {}, {}}
	use := func(n int) {
		for i, p := range guest {
			p.less = 0
			if i >= n {
				p.less = virtionet.StateActive
			}
		}
	}
	var told []int
	e := &spreadEnd{others: [][]*member{nil}}
	e.Spread = func(pairs int) error { told = append(told, pairs); return nil }
	for _, p := range guest {
		e.Queues = append(e.Queues, &fakePort{})
		e.others[0] = append(e.others[0], newMember(p))
	}
	c := newController(func(err error) { t.Error(err) })
	now := time.Now()
	for i := range 1000 {
		use(1 + 2*(i%2))
		if wait := c.spread(e, now); wait < 0 || wait > calmAfter || i > 0 && wait == 0 != (i%2 == 1) {
			t.Fatalf("waits for %v", wait)
		}
		now = now.Add(calmAfter / 3)
	}
	use(2)
	for wait := time.Duration(1); wait > 0; {
		wait = c.spread(e, now)
		now = now.Add(wait)
	}
	use(4)
	c.spread(e, now)
	if want := []int{1, 3, 2, 4}; !slices.Equal(told, want) {
		t.Errorf("told of %v queue pairs, want %v", told, want)
	}
}
