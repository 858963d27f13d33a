package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"vvufwd/cmd/vvubench/testpmd"
	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

const queuePairs = 4

var manyQueues = []frontend{
	{name: "four queues", queues: queuePairs, ring: 256, size: 1200, args: []string{"--rxq=4", "--txq=4"}, agreed: []string{"MQ", "MRG_RXBUF"}},
	{
		name: "four queues, one buffer a frame", options: []string{"mrg_rxbuf=0"}, queues: queuePairs, ring: 256, size: 1500,
		args: []string{"--rxq=4", "--txq=4"}, agreed: []string{"MQ"}, not: []string{"MRG_RXBUF"},
	},
}

// TestVirtioUserQueues puts DPDK with several queue pairs between two front-ends that have as many and are played here. Testpmd sends
// what came at a queue of one port to the same queue of the other, and so does vvufwd: each frame must come out where it belongs.
func TestVirtioUserQueues(t *testing.T) {
	l := newLab(t)
	program := l.testpmd(testpmd.Bookworm)
	f := l.forward(l.socket("a"), l.socket("d1"), l.socket("d2"), l.socket("b"))
	for _, way := range manyQueues {
		l.step(way.name, func(l *lab) {
			f.forget()
			p := l.bounce(program, way, false)
			l.agreed(f, way)
			a, b := l.front(l.socket("a")), l.front(l.socket("b"))
			l.lanes(f, 2*queuePairs)
			for round := range 400 {
				l.pass(a, b, way.size, round)
				l.pass(b, a, way.size, ^round)
			}
			l.must(a.Sent())
			l.must(b.Sent())
			l.end(p)
			l.must(a.Halt())
			l.must(b.Halt())
			l.lanes(f, 0) // without front-ends
		})
	}
	l.step("counters", func(l *lab) {
		const frames = 400 * burst * 2 // by queue pair, each way
		ports := l.ports(f)
		if len(ports) != 4*queuePairs {
			l.Fatalf("%d queue pairs had traffic: %+v", len(ports), ports)
		}
		for _, p := range ports {
			if p.RxPackets != frames || p.TxPackets != frames || p.Dropped() != 0 {
				l.Errorf("%+v, want %d frames each way and nothing dropped", p, frames)
			}
		}
	})
	l.stop(f)
}

// front is a front-end with several queue pairs whose rings run.
func (l *lab) front(path string) *vvutest.App {
	l.Helper()
	app, err := vvutest.Boot(vvutest.NewRAM(l), path, vvutest.AppConfig{Style: vhostuser.QEMU, Pairs: queuePairs, Entries: 64})
	l.must(err)
	l.Cleanup(func() { app.Halt() })
	l.must(app.Connect())
	l.must(app.Start())
	if !app.Front.Features().Has(virtio.NetMQ) {
		l.Fatalf("%s does not offer MQ: %v", path, app.Front.Features())
	}
	return app
}

// lanes waits until vvufwd serves that many queue pairs of either end, all pairs of ports taken together.
func (l *lab) lanes(f *forwarder, want int) {
	l.Helper()
	l.eventually(func() error {
		s, err := f.counters.Now(l.ctx)
		if err != nil {
			return err
		}
		got := 0
		for _, loop := range s.Loops {
			got += loop.Pairs
		}
		if got != want {
			return fmt.Errorf("%d queue pairs are joined, want %d", got, want)
		}
		return nil
	})
}

// burst is how many frames go through a queue pair at once.
const burst = 8

// pass sends frames through each queue pair at the same time, and compares what comes out of it.
func (l *lab) pass(from, to *vvutest.App, size, round int) {
	l.Helper()
	frame := func(pair, k int) []byte {
		b := make([]byte, size-k)
		for i := range b {
			b[i] = byte(i*7 + round*13 + pair*29 + k)
		}
		binary.LittleEndian.PutUint64(b[14:], uint64(round)<<16|uint64(pair)<<8|uint64(k))
		return b
	}
	for k := range burst {
		for pair := range queuePairs {
			l.must(from.SendTo(pair, frame(pair, k)))
		}
	}
	for k := range burst {
		for pair := range queuePairs {
			got, err := to.ReceiveFrom(pair)
			if err != nil {
				l.Fatalf("round %d, pair %d, frame %d: %v", round, pair, k, err)
			}
			if !bytes.Equal(got, frame(pair, k)) {
				l.Fatalf("round %d, pair %d, frame %d differs: %d bytes, %x", round, pair, k, len(got), got[:min(len(got), 30)])
			}
		}
	}
}
