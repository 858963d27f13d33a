package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/vm"
	"vvufwd/cmd/vvubench/testpmd"
)

// frontend is how a testpmd joins vvufwd's sockets with its virtio-user ports.
type frontend struct {
	name    string
	options []string // of both virtio-user ports
	ring    int      // entries
	size    int      // bytes of a frame
	queues  int      // pairs; 0: 1
	args    []string // of testpmd
	agreed  []string // features that must be in force
	not     []string // features that must not be
	rests   bool     // forwards nothing while vvufwd restarts
}

// scattered makes testpmd take and send frames that lie in several of its buffers.
var scattered = []string{"--max-pkt-len=9018", "--rx-offloads=0x2000", "--tx-offloads=0x8000"}

var frontends = []frontend{
	{name: "mergeable", ring: 256, size: 64, agreed: []string{"MRG_RXBUF", "VERSION_1", "IN_ORDER"}},
	// DPDK 22.11 frees the wrong descriptors of an in-order split ring when a frame takes more than one: with its own back-end in our
	// place, frames of 9000 bytes get lost just so.
	{name: "jumbo frames", options: []string{"in_order=0"}, ring: 256, size: 9000, args: scattered, agreed: []string{"MRG_RXBUF"}},
	{name: "one buffer a frame", options: []string{"mrg_rxbuf=0"}, ring: 256, size: 1518, not: []string{"MRG_RXBUF"}},
	{name: "out of order", options: []string{"mrg_rxbuf=0", "in_order=0"}, ring: 256, size: 64, not: []string{"MRG_RXBUF", "IN_ORDER"}},
	{name: "long rings", ring: 1024, size: 1518, agreed: []string{"MRG_RXBUF"}},
}

// packed are those with packed rings. The first comes also with the roles of the sockets changed.
var packed = []frontend{
	{name: "packed", options: []string{"packed_vq=1"}, ring: 256, size: 64, agreed: []string{"RING_PACKED", "MRG_RXBUF", "IN_ORDER"}},
	{name: "packed, out of order", options: []string{"packed_vq=1", "in_order=0"}, ring: 256, size: 1518, agreed: []string{"RING_PACKED", "MRG_RXBUF"}, not: []string{"IN_ORDER"}},
	{name: "packed, one buffer a frame", options: []string{"packed_vq=1", "mrg_rxbuf=0"}, ring: 256, size: 1518, agreed: []string{"RING_PACKED", "IN_ORDER"}, not: []string{"MRG_RXBUF"}},
	{name: "packed, plain", options: []string{"packed_vq=1", "mrg_rxbuf=0", "in_order=0"}, ring: 1024, size: 64, agreed: []string{"RING_PACKED"}, not: []string{"MRG_RXBUF", "IN_ORDER"}},
	{name: "packed, jumbo frames", options: []string{"packed_vq=1"}, ring: 256, size: 9000, args: scattered, agreed: []string{"RING_PACKED", "MRG_RXBUF"}},
	{name: "packed, vectors", options: []string{"packed_vq=1", "mrg_rxbuf=0", "vectorized=1"}, ring: 256, size: 64, agreed: []string{"RING_PACKED"}, not: []string{"MRG_RXBUF"}},
	{name: "split again", ring: 256, size: 64, agreed: []string{"MRG_RXBUF"}, not: []string{"RING_PACKED"}},
}

// TestVirtioUser does it with DPDK 22.11, TestVirtioUser24 with 24.11, and in the short form with every other kind of rings: they are
// in such an order that both formats come with each of their choices.
func TestVirtioUser(t *testing.T) {
	newLab(t).virtioUser(testpmd.Bookworm, slices.Concat(frontends, packed))
}

func TestVirtioUser24(t *testing.T) {
	ways := slices.Concat(frontends, packed)
	if testing.Short() {
		for i := range len(ways) / 2 {
			ways[i] = ways[2*i+1]
		}
		ways = ways[:len(ways)/2]
	}
	newLab(t).virtioUser(testpmd.Trixie, ways)
}

// virtioUser puts DPDK between two pairs of vvufwd: what vvugen sends into one passes testpmd and comes back to vvugen out of the
// other, which compares every byte. testpmd comes and goes with all its kinds of rings; vvufwd stays.
func (l *lab) virtioUser(release testpmd.Release, ways []frontend) {
	program := l.testpmd(release)
	f := l.forward(l.socket("v1"), l.socket("d1"), l.socket("d2"), l.socket("v2"))
	for _, way := range ways {
		l.step(way.name, func(l *lab) {
			f.forget()
			p := l.bounce(program, way, false)
			l.agreed(f, way)
			l.verify(way.size)
			l.end(p)
		})
	}
	l.step("counters", func(l *lab) { l.eventually(func() error { return nothingLost(l.ports(f)) }) })
	l.stop(f)
}

// TestVirtioUserListens is the same with the roles on testpmd's sockets changed: vvufwd connects. It restarts under a testpmd that
// goes on, and the other way round.
//
// testpmd rests while vvufwd restarts under packed rings, which DPDK fills anew then, a millisecond after it has told the core that
// forwards to keep away (virtio_user_dev_reset_queues_packed; so in 22.11 and 26.11-rc0). A core that is off its processor for longer
// comes back to a ring that is being filled, both fill it, and it holds what the whole pool had: seen once in 243 restarts on two
// processors with five other loops, as a ring at entry 218 of its second lap and 34048 (65536 - 31488, the rest of the pool of 32768)
// failed buffers a poll.
func TestVirtioUserListens(t *testing.T) {
	l := newLab(t)
	program := l.testpmd(testpmd.Bookworm)
	sockets := []string{l.socket("v1"), l.socket("d1") + ",client", l.socket("d2") + ",client", l.socket("v2")}
	f := l.forward(sockets...)
	resting := packed[0]
	resting.rests = true
	for _, way := range []frontend{frontends[0], resting} {
		p := l.bounce(program, way, true)
		l.step(way.name+", first", func(l *lab) { l.verify(64) })
		l.step(way.name+", vvufwd restarts", func(l *lab) {
			if way.rests {
				l.must(p.Pause(l.ctx))
			}
			l.stop(f)
			f = l.forward(sockets...)
			if way.rests {
				f.mark = 0
				l.agreed(f, way)
				l.must(p.Resume(l.ctx))
			}
			l.verify(1518)
		})
		l.step(way.name+", testpmd restarts", func(l *lab) {
			l.end(p)
			p = l.bounce(program, way, true)
			l.verify(64)
			l.end(p)
		})
	}
	l.stop(f)
}

// testpmd finds the program of a Debian release.
func (l *lab) testpmd(release testpmd.Release) *testpmd.Program {
	l.Helper()
	p, err := testpmd.Find(l.ctx, testpmd.Options{Release: release, BuildDir: l.build, Progress: func(text string) { l.Log(text) }})
	l.must(err)
	return p
}

// bounce starts a testpmd that forwards between the sockets d1 and d2.
func (l *lab) bounce(program *testpmd.Program, way frontend, listens bool) *testpmd.Process {
	l.Helper()
	cfg := testpmd.Config{
		Name: "testpmd", Mode: "io", CPU: 0, ControlCPU: 1, Args: way.args, Commands: way.rests,
		LogPath: filepath.Join(l.out, "testpmd-"+strings.ReplaceAll(way.name, " ", "-")+".log"),
	}
	for _, name := range []string{"d1", "d2"} {
		cfg.Ports = append(cfg.Ports, testpmd.VirtioUser{Socket: l.socket(name), Server: listens, QueueSize: way.ring, Queues: way.queues, Options: way.options})
	}
	p, err := testpmd.Start(l.ctx, program, cfg)
	l.must(err)
	l.atEnd(func() { p.Close() })
	return p
}

// agreed waits for the end of the negotiation at both of testpmd's ports, and looks at what is in force there.
func (l *lab) agreed(f *forwarder, way frontend) {
	l.Helper()
	begin := f.mark
	for _, name := range []string{"d1", "d2"} {
		f.mark = begin
		line := l.expect(f, "features negotiated", l.socket(name))
		_, features, _ := strings.Cut(line, `"features": "`)
		features, _, _ = strings.Cut(features, `"`)
		for _, want := range way.agreed {
			if !vm.Containing(want)(features) {
				l.Errorf("%s: %s is not in force: %s", name, want, features)
			}
		}
		for _, unwanted := range way.not {
			if vm.Containing(unwanted)(features) {
				l.Errorf("%s: %s is in force: %s", name, unwanted, features)
			}
		}
		l.expect(f, "ring started", l.socket(name), fmt.Sprintf(`"size": %d,`, way.ring))
	}
}

// end stops a testpmd, which must have had room for every frame but the probes that vvugen sends to find out whether the way is open.
func (l *lab) end(p *testpmd.Process) {
	l.Helper()
	totals, err := p.Stop(l.ctx)
	l.must(err)
	all := totals.All
	probes := all.RxPackets % (2 * framesEachWay)
	if lost := all.RxDropped + all.TxDropped; lost > probes || all.RxPackets-all.TxPackets > lost {
		l.Errorf("testpmd lost frames: %+v", all)
	}
}
