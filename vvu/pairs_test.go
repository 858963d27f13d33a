package vvu

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// exchangeAll sends frames over pairs first to end-1, both ways, and compares them.
func (r *rig) exchangeAll(app *vvutest.App, first, end int, seed uint32) {
	r.t.Helper()
	for pair := first; pair < end; pair++ {
		s := seed*64 + uint32(pair)
		r.wires[pair].Push(frame(200, s), frame(1514, s+1000))
		must(r.t, app.SendTo(pair, frame(60, s+2000)))
	}
	for pair := first; pair < end; pair++ {
		s := seed*64 + uint32(pair)
		for _, want := range [][]byte{frame(200, s), frame(1514, s+1000)} {
			got, err := app.ReceiveFrom(pair)
			must(r.t, err)
			r.same(fmt.Sprintf("pair %d: incoming", pair), want, got)
		}
		got, err := r.wires[pair].Pop()
		must(r.t, err)
		r.same(fmt.Sprintf("pair %d: outgoing", pair), frame(60, s+2000), got)
	}
}

// TestQueuePairs starts devices of several queue pairs in the way of every known
// front-end.
func TestQueuePairs(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.up()
		for _, style := range vhostuser.Styles() {
			for _, pairs := range []int{2, 4, vvudevPairs} {
				t.Run(fmt.Sprintf("%s %d", style.Name, pairs), func(t *testing.T) {
					r.restart() // forgives the bounces of the front-ends before
					outer := r.t
					r.t = t
					defer func() { r.t = outer }()
					app := r.boot(vvutest.AppConfig{Style: style, Pairs: pairs})
					must(t, app.Connect())
					if n := app.Front.QueueNum(); style.Name != "virtio-user" && n < uint64(2*pairs) {
						t.Errorf("GET_QUEUE_NUM says %d", n)
					}
					for range 2 {
						must(t, app.Start())
						if !app.Front.Features().Has(virtio.NetMQ) {
							t.Error("MQ is not offered")
						}
						for i := range uint32(5) {
							r.exchangeAll(app, 0, pairs, i)
						}
						must(t, app.Sent())
						r.checkStop(app)
					}
				})
			}
		}
	})
}

// TestNames: the first pair has the name that a port of one pair has.
func TestNames(t *testing.T) {
	ports := newForkRig(t, vvutest.ForkConfig{}).open().endpoint.Ports()
	for i, want := range []string{"vvu:0000:00:05.0", "vvu:0000:00:05.0/q1", "vvu:0000:00:05.0/q2"} {
		if got := ports[i].Name(); got != want {
			t.Errorf("pair %d is called %q, want %q", i, got, want)
		}
	}
}

// TestPairsThatFit: a device with few vectors, doorbells or vrings serves few pairs, and so
// does a machine with few vectors to give.
func TestPairsThatFit(t *testing.T) {
	for vectors, want := range map[int]int{5: 1, 6: 1, 7: 2, 12: 4, 18: 7, 19: 8, 1027: 8} {
		r := newForkRig(t, vvutest.ForkConfig{Vectors: vectors})
		if got := len(r.open().endpoint.Ports()); got != want {
			t.Errorf("%d pairs with %d vectors, want %d", got, vectors, want)
		}
		r.down()
	}
	for most, want := range map[int]int{-1: 1, 0: 1, 1: 1, 3: 3, 8: 8, 100: session.MaxPairs} {
		r := newForkRig(t, vvutest.ForkConfig{})
		d, err := Open("0000:00:05.0", r.pci, r.alloc, most)
		must(t, err)
		if d.Pairs() != want {
			t.Errorf("%d pairs where %d are allowed, want %d", d.Pairs(), most, want)
		}
		must(t, d.Close())
	}
	if got := newVvudevRig(t).open().device.Pairs(); got != vvudevPairs {
		t.Errorf("%d pairs with a device of %d vrings, want %d", got, session.Rings(vvudevPairs), vvudevPairs)
	}
	for given, want := range map[int]int{5: 2, 6: 3, 7: 4, 8: 5, 11: 8, 12: 9, 18: 9, 19: 16, 20: 17} { // vrings
		r := newForkRig(t, vvutest.ForkConfig{})
		r.pci.PCIDevice = &scarce{r.pci.PCIDevice, given}
		if got := r.open().device; int(got.rings()) != want || got.Pairs() != want/2 {
			t.Errorf("%d vrings, %d pairs where the machine gives %d vectors, want %d", got.rings(), got.Pairs(), given, want)
		}
		r.down()
	}
	r := newForkRig(t, vvutest.ForkConfig{})
	r.pci.PCIDevice = &scarce{r.pci.PCIDevice, 4}
	if _, err := Open("0000:00:05.0", r.pci, r.alloc, session.MaxPairs); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("without vectors for one pair: %v", err)
	}
}

// scarce is a function in a machine that has few vectors to give.
type scarce struct {
	PCIDevice
	vectors int
}

func (s *scarce) EnableMSIX(n int) error {
	if n > s.vectors {
		return unix.ENOSPC
	}
	return s.PCIDevice.EnableMSIX(n)
}

// TestSurplusPairs: what a front-end has beyond the pairs that are served stays stopped,
// which is said once, and hurts nothing else.
func TestSurplusPairs(t *testing.T) {
	r := newVvudevRig(t)
	r.up()
	// QEMU compares the number of its pairs with twice that of ours.
	app := r.run(vvutest.AppConfig{Style: vhostuser.QEMU, Pairs: vvudevPairs + 1})
	r.exchangeAll(app, 0, vvudevPairs, 1)
	if n := r.logs.FilterMessageSnippet("more queue pairs than are served").Len(); n != 1 {
		t.Errorf("said %d times that there are too many pairs, want once", n)
	}
	bases, err := app.Stop()
	must(t, err)
	if got := bases[2*vvudevPairs:]; got[0] != 0 || got[1] != 0 {
		t.Errorf("rings that are not served stand at %v", got)
	}
	must(t, app.Halt())
	app = r.run(vvutest.AppConfig{Style: vhostuser.QEMU, Pairs: vvudevPairs + 1})
	r.exchangeAll(app, 0, vvudevPairs, 2)
	if n := r.logs.FilterMessageSnippet("more queue pairs than are served").Len(); n != 2 {
		t.Errorf("said %d times in two sessions that there are too many pairs", n)
	}
}

// TestRingsInAnyOrder stops, starts, enables and disables rings of some pairs at random
// while frames pass over the first pair, which must not notice.
func TestRingsInAnyOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		const pairs = 4
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.VirtioUser, Pairs: pairs})
		r.exchangeAll(app, 0, pairs, 0)
		done := make(chan struct{})
		stop := make(chan struct{})
		var traffic error
		go func() {
			defer close(done)
			for seed := uint32(0); ; seed++ {
				select {
				case <-stop:
					return
				default:
				}
				if traffic = r.passOne(app, seed); traffic != nil {
					return
				}
			}
		}()
		running := [2 * pairs]bool{}
		for ring := range running {
			running[ring] = true
		}
		for range 600 {
			ring := 2 + rand.IntN(2*pairs-2)
			switch {
			case rand.IntN(3) == 0:
				must(t, app.Enable(ring, rand.IntN(2) == 0))
			case running[ring]:
				base, err := app.StopRing(ring)
				must(t, err)
				if int(base) != app.Taken(ring) {
					t.Fatalf("ring %d stands at %d, and has given back %d", ring, base, app.Taken(ring))
				}
				running[ring] = false
			default:
				must(t, app.Renew(ring))
				must(t, app.StartRing(ring, 0))
				must(t, app.Settle())
				app.Publish(ring)
				running[ring] = true
			}
			// Frames for whoever takes them: some are dropped, none may do harm.
			r.wires[ring/2].Push(frame(100, uint32(ring)))
			if running[ring] && ring%2 == 1 {
				must(t, app.TrySend(ring/2, frame(100, uint32(ring))))
			}
		}
		close(stop)
		<-done
		must(t, traffic)
		_, err := app.Stop()
		must(t, err)
		for _, w := range r.wires[:pairs] {
			eventually(t, "the end of frames on the way", func() bool { return w.Waiting() == 0 })
			w.Discard()
		}
		must(t, app.Start())
		for i := range uint32(10) {
			r.exchangeAll(app, 0, pairs, i)
		}
	})
}

// passOne sends a frame each way over the first pair.
func (r *rig) passOne(app *vvutest.App, seed uint32) error {
	r.wire.Push(frame(300, seed))
	if err := app.SendTo(0, frame(400, seed)); err != nil {
		return err
	}
	in, err := app.ReceiveFrom(0)
	if err != nil {
		return err
	}
	out, err := r.wire.Pop()
	if err != nil {
		return err
	}
	if string(in) != string(frame(300, seed)) || string(out) != string(frame(400, seed)) {
		return fmt.Errorf("frame %d differs: %d bytes in, %d bytes out", seed, len(in), len(out))
	}
	return nil
}
