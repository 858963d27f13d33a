package socket

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// forms are the forms of rings that guests can have.
var forms = map[string]virtio.Features{
	"split":               vvutest.AllFeatures,
	"split, in order":     vvutest.AllFeatures | virtio.InOrder,
	"packed":              vvutest.AllFeatures | virtio.RingPacked,
	"packed, in order":    vvutest.AllFeatures | virtio.RingPacked | virtio.InOrder,
	"split, no EVENT_IDX": vvutest.AllFeatures &^ virtio.EventIdx,
}

// apps boots two app VMs at a rig's ends, that of B with room for few frames.
func apps(t *testing.T, r *rig, features virtio.Features, room int) (a, b *vvutest.App) {
	t.Helper()
	for i, app := range []**vvutest.App{&a, &b} {
		cfg := vvutest.AppConfig{Style: vhostuser.CloudHypervisor, Features: features, Entries: 256, RxBuffers: room}
		*app = bootApp(t, r.paths[i], vvutest.NewRAM(t), cfg)
	}
	return a, b
}

func numbered(i int) []byte {
	f := pattern(60+i%1000, i)
	binary.LittleEndian.PutUint32(f[14:], uint32(i))
	return f
}

func number(f []byte) int { return int(binary.LittleEndian.Uint32(f[14:])) }

// A has sent 100 frames and B has room for 8; then one of the two front-ends says
// something, and then there is room. All frames arrive, in their order.
func TestNothingIsLostBetweenTwoRings(t *testing.T) {
	const n = 100
	for name, features := range forms {
		for _, d := range vvutest.Disturbances() {
			for _, side := range []string{"sender", "receiver"} {
				t.Run(fmt.Sprintf("%s/%s/%s", name, d.Name, side), func(t *testing.T) {
					t.Parallel()
					r := newRig(t)
					a, b := apps(t, r, features, 8)
					for i := range n {
						if err := a.Send(numbered(i)); err != nil {
							t.Fatal(err)
						}
					}
					r.eventually(t, "B's first buffer is filled", func() bool { return b.Taken(0) > 0 })
					who := a
					if side == "receiver" {
						who = b
					}
					for range 3 {
						if err := who.Disturb(d); err != nil {
							t.Fatal(err)
						}
					}
					for i := range n {
						got, err := b.Receive()
						if err != nil {
							t.Fatalf("after %d frames: %v", i, err)
						}
						if number(got) != i || len(got) != len(numbered(i)) {
							t.Fatalf("frame %d of %d bytes arrived where %d is due", number(got), len(got), i)
						}
					}
					if err := a.Sent(); err != nil {
						t.Fatal(err)
					}
					if said := r.logs.FilterMessageSnippet("is not at the index"); said.Len() > 0 {
						t.Errorf("a ring was said to stand elsewhere than it does: %v", said.All())
					}
				})
			}
		}
	}
}

// The same while both send all the time as much as the other takes.
func TestNothingIsLostUnderLoad(t *testing.T) {
	for name, features := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var ends [2]*vvutest.App
			ends[0], ends[1] = apps(t, r, features, 32)
			const n = 6000
			var sent, received [2]int
			disturbances := vvutest.Disturbances()
			deadline := time.Now().Add(2 * time.Minute)
			for round := 0; received[0] < n || received[1] < n; round++ {
				if time.Now().After(deadline) {
					t.Fatalf("%v sent and %v received of %d", sent, received, n)
				}
				for i, app := range ends {
					for sent[i] < n && app.Room(0) {
						if err := app.Send(numbered(sent[i])); err != nil {
							t.Fatal(err)
						}
						sent[i]++
					}
				}
				if round%3 == 0 {
					d := disturbances[round/3%len(disturbances)]
					if err := ends[round/3/len(disturbances)%2].Disturb(d); err != nil {
						t.Fatalf("%s: %v", d.Name, err)
					}
				}
				for i, app := range ends {
					for range 20 { // less than what there may be: the other waits for room
						f, err := app.TryReceive()
						if err != nil {
							t.Fatal(err)
						}
						if f == nil {
							break
						}
						if number(f) != received[i] || len(f) != len(numbered(received[i])) {
							t.Fatalf("frame %d arrived where %d is due", number(f), received[i])
						}
						received[i]++
					}
				}
			}
			for i, app := range ends {
				if err := app.Sent(); err != nil {
					t.Error(err)
				}
				if f, err := app.TryReceive(); f != nil || err != nil {
					t.Errorf("end %d receives more than was sent: %d, %v", i, number(f), err)
				}
			}
		})
	}
}

func (r *rig) eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(vvutest.Patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			for _, e := range r.logs.All() {
				t.Logf("%s %v", e.Message, e.ContextMap())
			}
			t.Fatalf("%s: not within %v", what, vvutest.Patience)
		}
	}
}
