package hostile

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// sayAll says something about both rings.
func sayAll(t *testing.T, g *guest, r vhostuser.Request, payload func(i int) vhostuser.Payload) {
	t.Helper()
	for i := range g.rings {
		if err := g.say(r, payload(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.barrier(); err != nil {
		t.Fatal(err)
	}
}

// state makes a payload of a ring's index and a number.
func state(num uint32) func(int) vhostuser.Payload {
	return func(i int) vhostuser.Payload { return vhostuser.VringState{Index: uint32(i), Num: num} }
}

// Rings that are changed while they run.
func TestRingsInMotion(t *testing.T) {
	f := startForwarder(t, 4, "--log-level=debug")
	startVictim(t, f, 2, 3, gentle...)
	b := join(t, f.sockets[1])
	defer b.leave()
	before := f.census(t)
	for _, c := range []struct {
		name string
		play func(t *testing.T, a *guest)
	}{
		{"moved", func(t *testing.T, a *guest) {
			for range 20 {
				moveRings(t, a)
				exchange(t, a, b)
			}
		}},
		{"moved away and back", func(t *testing.T, a *guest) {
			mark := f.log.mark()
			for i := range a.rings {
				away := vhostuser.VringAddr{Index: uint32(i), Desc: 0x1234, Used: 0x5678, Avail: 1<<64 - 16}
				if err := a.say(vhostuser.SetVringAddr, away); err != nil {
					t.Fatal(err)
				}
			}
			f.log.await(t, mark, a.path, "not in the memory that the front-end shares")
			sayAll(t, a, vhostuser.SetVringAddr, func(i int) vhostuser.Payload { return a.rings[i].address() })
		}},
		{"size again", func(t *testing.T, a *guest) {
			mark := f.log.mark()
			sayAll(t, a, vhostuser.SetVringNum, state(16))
			f.log.await(t, mark, a.path, "is running; GET_VRING_BASE must stop it first")
		}},
		{"position again", func(t *testing.T, a *guest) {
			mark := f.log.mark()
			sayAll(t, a, vhostuser.SetVringBase, state(1000))
			f.log.await(t, mark, a.path, "is running; GET_VRING_BASE must stop it first")
		}},
		{"sizes a thousand times", func(t *testing.T, a *guest) {
			for i := range a.rings {
				if _, err := a.stop(i); err != nil {
					t.Fatal(err)
				}
			}
			for n := range 1000 {
				for i := range a.rings {
					if err := a.say(vhostuser.SetVringNum, state(1<<(n%16))(i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range a.rings {
				if err := a.restart(i, true); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"disabled", func(t *testing.T, a *guest) {
			sayAll(t, a, vhostuser.SetVringEnable, state(0))
			for range 3 * ringEntries { // consumed, or this fills up
				if err := a.sendWithin(patience, testFrame(0, 100)); err != nil {
					t.Fatalf("a disabled transmit ring is not consumed: %v", err)
				}
			}
			eventually(t, "the frames are counted as dropped", func() bool { return f.stats.port(a.path).Drops["no_peer"] >= 3*ringEntries })
			received := a.rings[receiveRing].usedIdx()
			if err := carryWithin(b, a, 20*time.Millisecond); err == nil || a.rings[receiveRing].usedIdx() != received {
				t.Error("a disabled receive ring got a frame")
			}
			sayAll(t, a, vhostuser.SetVringEnable, state(1))
		}},
		{"enabled and disabled", func(t *testing.T, a *guest) {
			for n := range 1000 {
				if err := a.say(vhostuser.SetVringEnable, state(uint32(n%2))(n/2%2)); err != nil {
					t.Fatal(err)
				}
			}
			sayAll(t, a, vhostuser.SetVringEnable, state(1))
		}},
		{"stopped and kicked", func(t *testing.T, a *guest) {
			for i := range a.rings {
				if _, err := a.stop(i); err != nil {
					t.Fatal(err)
				}
				used := a.rings[i].usedIdx()
				a.rings[i].set(0, desc{Addr: scratchGPA, Len: 2048, Flags: [2]uint16{receiveRing: vring.DescWrite}[i]})
				a.rings[i].offer(0)
				a.kick(i)
				b.send(testFrame(0, 100))
				time.Sleep(5 * time.Millisecond)
				if a.rings[i].usedIdx() != used {
					t.Errorf("stopped ring %d was used", i)
				}
			}
			for i := range a.rings {
				if err := a.restart(i, true); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"kick storm", func(t *testing.T, a *guest) {
			for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
				for range 1000 {
					a.kick(receiveRing)
					a.kick(transmitRing)
				}
			}
		}},
		{"kick counter full", func(t *testing.T, a *guest) {
			for i := range a.kicks {
				unix.Write(a.kicks[i], []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			}
		}},
		{"call counter full", func(t *testing.T, a *guest) {
			for i := range a.calls {
				unix.Write(a.calls[i], []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			}
			if err := carry(b, a); err != nil {
				t.Error(err)
			}
		}},
		{"reset", func(t *testing.T, a *guest) {
			if err := a.say(vhostuser.ResetDevice, nil); err != nil {
				t.Fatal(err)
			}
			for i := range a.rings {
				a.rings[i].clear()
				clear(a.buffers[i])
			}
			a.fill()
			if err := a.start(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := join(t, f.sockets[0])
			defer a.leave()
			exchange(t, a, b)
			c.play(t, a)
			exchange(t, a, b)
			f.alive(t)
		})
	}
	f.settled(t, before)
}

// moveRings copies the rings to their other places and tells the device so, while
// both run.
func moveRings(t *testing.T, a *guest) {
	t.Helper()
	for _, r := range a.rings {
		old := r.base()
		r.place ^= 2
		copy(r.ram.at(r.base(), ringRoom), r.ram.at(old, ringRoom))
	}
	sayAll(t, a, vhostuser.SetVringAddr, func(i int) vhostuser.Payload { return a.rings[i].address() })
}
