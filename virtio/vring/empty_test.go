package vring_test

import (
	"fmt"
	"testing"

	"vvufwd/virtio/vring"
	"vvufwd/virtio/vring/vringtest"
)

// With NOTIFY_ON_EMPTY a driver that wants no interrupts gets one when the last of what it has offered is back.
func TestNotifyOnEmpty(t *testing.T) {
	for _, eventIdx := range []bool{false, true} {
		for _, onEmpty := range []bool{false, true} {
			t.Run(fmt.Sprintf("eventIdx=%v/onEmpty=%v", eventIdx, onEmpty), func(t *testing.T) {
				p := vringtest.NewPair(t, vringtest.Config{Size: 8, EventIdx: eventIdx, NotifyOnEmpty: onEmpty})
				addr, _ := p.Alloc(16)
				q := p.Device
				var held []vring.Chain
				offer := func(n int) {
					for i := range n {
						vringtest.PutDesc(p.Raw.Table, i, vring.Desc{Addr: uint64(addr), Len: 16})
						p.Raw.Offer(uint16(i))
					}
				}
				take := func(n int) {
					q.Available()
					for range n {
						held = append(held, vring.Chain{})
						if !q.Pop(&held[len(held)-1]) {
							t.Fatal("nothing to pop:", q.Err())
						}
					}
				}
				wants := func(what string, want bool) {
					t.Helper()
					q.Push(held[0].Head, 0)
					held = held[1:]
					if q.Publish(); q.NeedSignal() != want {
						t.Errorf("%s: interrupt %v, want %v", what, !want, want)
					}
				}
				offer(1)
				take(1)
				wants("the first one", true) // with EVENT_IDX in any case
				p.Raw.SetAvailFlags(1)       // NO_INTERRUPT
				p.Raw.SetUsedEvent(1 << 15)
				offer(3)
				take(2)
				wants("one is in our hands, one waits", false)
				wants("one waits", false)
				take(1)
				offer(1)
				wants("one is offered that no one has seen", false)
				take(1)
				wants("nothing is left", onEmpty)
			})
		}
	}
}
