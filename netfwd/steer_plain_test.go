package netfwd

import (
	"fmt"
	"testing"

	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring/vringtest"
)

// However many of their queue pairs two guests use, all of their plain frames are forwarded
// as such, steered or not, and each arrives once.
func TestSteeredFramesArePlain(t *testing.T) {
	const pairs, frames = 8, 10
	for _, active := range [][2]int{{1, 1}, {1, 3}, {2, 3}, {8, 3}, {2, 8}, {8, 8}} {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, packed %v", active, packed), func(t *testing.T) {
				var ends [2][]*syncEnd
				var link Link
				for end, n := range active {
					for i := range pairs {
						e := newSyncEndWith(t, vringtest.Config{Packed: packed, Size: 128})
						if i < n {
							e.install(nil, func(*guest.Queues) {})
							ends[end] = append(ends[end], e)
						}
						link[end].Queues = append(link[end].Queues, e)
					}
				}
				b, err := NewBalancer([]Link{link}, []Config{{CPU: -1}}, func(err error) { t.Error(err) })
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				for _, queues := range ends {
					for _, e := range queues {
						e.offerBuffers(100)
						e.sendNumbered(0, frames, 7)
					}
				}
				for range 4 * pairs {
					b.loops[0].round()
				}
				for end, queues := range ends {
					arrived := 0
					for i, e := range queues {
						arrived += len(e.arrived())
						if c := e.Counters(); c.RxPackets != frames || c.Plain != frames || c.Dropped() != 0 {
							t.Errorf("queue pair %d of end %d: %d frames, %d plain, dropped %v", i, end, c.RxPackets, c.Plain, c.Drops)
						}
					}
					if want := frames * active[1-end]; arrived != want {
						t.Errorf("%d frames arrived at end %d, want %d", arrived, end, want)
					}
				}
			})
		}
	}
}

// faultAt is an access to memory that vanished.
type faultAt uintptr

func (f faultAt) Error() string { return "memory vanished" }
func (f faultAt) Addr() uintptr { return uintptr(f) }

// A fault elsewhere interrupts a lane in whose burst some frames are sent, and others, which
// came before them, are not: none is sent twice, what is lost is counted, and the next burst
// passes.
func TestSortedBurstAfterAFault(t *testing.T) {
	for _, packed := range []bool{false, true} {
		from := newSyncEndWith(t, vringtest.Config{Packed: packed, Size: 128})
		from.install(nil, func(*guest.Queues) {})
		ports := []*fakePort{{name: "a", room: -1}, {name: "b", room: 1}, {name: "c", room: -1}}
		ports[2].owns = func(addr uintptr) bool { return addr == 5 }
		d, l := newSteeredLane(from, asPorts(ports)...)
		for _, q := range d.steer.queues {
			l.addIdle(newDirection(q))
		}
		const n = 60
		from.sendNumbered(0, n, 12)
		l.step()
		if !d.in.Plain() || !d.left() || d.sent == 0 || d.released != 0 {
			t.Fatalf("packed %v: plain %v, %d of %d frames are sent, %d released", packed, d.in.Plain(), d.sent, d.out.Len(), d.released)
		}
		if failed := l.contain(faultAt(5)); len(failed) != 1 || failed[0] != Port(ports[2]) {
			t.Fatalf("%v have failed", failed)
		}
		ports[1].room = -1
		from.sendNumbered(n, 2*n, 12)
		for range 5 {
			l.step()
		}
		seen, late := map[int]int{}, 0
		for _, p := range ports {
			for _, b := range p.out {
				number := int(b[40]) | int(b[41])<<8
				if seen[number]++; seen[number] > 1 {
					t.Errorf("packed %v: frame %d came twice", packed, number)
				}
				if number >= n {
					late++
				}
			}
		}
		dropped := int(from.Counters().Drops[virtionet.DropStopped])
		if late != n || len(seen)+dropped != 2*n || dropped == 0 {
			t.Errorf("packed %v: %d frames arrived, %d of them after the fault, and %d were dropped", packed, len(seen), late, dropped)
		}
		if c := from.tx.Driver.Completed(); c != 2*n {
			t.Errorf("packed %v: %d of %d buffers came back", packed, c, 2*n)
		}
	}
}
