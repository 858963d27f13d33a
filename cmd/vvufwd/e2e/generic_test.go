package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/pktgen"
	"vvufwd/vvu/session"
)

// TestUnfilteredFeatures gives a Linux guest a network device of which its monitor knows nothing: QEMU shows it what vvufwd offers, as
// it is, reads its configuration from vvufwd, and hands over all rings, the control queue too. That is how crosvm does it, and as far
// as what is offered cloud-hypervisor. Vvufwd runs with default flags. The other guest has QEMU's own device.
func TestUnfilteredFeatures(t *testing.T) {
	l := newLab(t)
	if v := l.tools.AppQEMU.Version; !v.AtLeast(machine.Generic) {
		t.Skipf("QEMU %v has no device that shows its guest what a back-end offers as it is; %v has", v, machine.Generic)
	}
	const processors = 2
	image := l.toolImage()
	a := l.machine("a", 1, image, l.socket("a"))
	b := l.machine("b", 2, image, l.socket("b"))
	a.Rings, a.SMP, a.QMP = session.Rings(session.MaxPairs), processors, l.socket("qmp")
	a.MAC = "" // it has none, and takes one by itself
	b.Queues, b.SMP = processors, processors
	f := l.forward(a.Socket, b.Socket)

	l.step("boot", func(l *lab) {
		l.switchOn(a)
		l.switchOn(b)
		l.together(func() error { return l.ready(a) }, func() error { return l.ready(b) })
		line := l.expect(f, "features negotiated", a.Socket, "MQ", "CTRL_VQ", "CTRL_RX", "CTRL_VLAN", "CTRL_MAC_ADDR")
		if strings.Contains(line, "MTU") {
			l.Errorf("an MTU that is not known is offered: %s", line)
		}
		f.mark = 0
		l.expect(f, "ring started", a.Socket, fmt.Sprintf(`"ring": %d,`, 2*session.MaxPairs), `"control": true`)
	})
	l.step("pings", func(l *lab) {
		l.together(func() error { return l.pings(a, b, 5, 56) }, func() error { return l.pings(b, a, 5, 1000) })
	})
	l.step("channels", func(l *lab) {
		got, err := a.app.Channels(l.ctx, commandLimit)
		l.must(err)
		if got.Max != session.MaxPairs || got.Current != processors {
			l.Errorf("channels %+v, want %d of %d", got, processors, session.MaxPairs)
		}
		for _, pairs := range []int{1, 2, session.MaxPairs, 3, 1, 2} {
			got, err := a.app.SetChannels(l.ctx, commandLimit, pairs)
			l.must(err)
			if got.Current != int64(pairs) {
				l.Fatalf("%d channels are in use, want %d", got.Current, pairs)
			}
			before := l.taken(f, a)
			l.together(func() error { return l.spread(a, b, 10) }, func() error { return l.pings(b, a, 3, 1000) })
			l.checkTaken(f, a, before, pairs, pairs <= processors)
		}
	})
	l.step("filter", func(l *lab) {
		const frames = 200 // in a VLAN of no one, for a station of no one
		before := l.drops(f, a)["filtered"]
		burst, err := b.app.Pktgen(l.ctx, commandLimit, guest.Generator{Frames: frames, Sizes: pktgen.OfSize(pktgen.MinFrame), VLAN: 4094}, func(int64) {})
		l.must(err)
		if burst.Frames != frames {
			l.Errorf("sent %d frames, want %d", burst.Frames, frames)
		}
		l.eventually(func() error {
			if dropped := l.drops(f, a)["filtered"] - before; dropped < frames {
				return fmt.Errorf("%d frames were filtered out, want %d", dropped, frames)
			}
			return nil
		})
	})
	l.step("VLAN", func(l *lab) {
		l.must(a.app.VLAN(l.ctx, commandLimit, 5, "10.5.0.1/24"))
		l.must(b.app.VLAN(l.ctx, commandLimit, 5, "10.5.0.2/24"))
		l.must(l.pingHost(a, "10.5.0.2", 5))
		l.must(l.pingHost(b, "10.5.0.1", 5))
	})
	l.step("pause", func(l *lab) {
		q, execute := l.control(a)
		defer q.Close()
		f.forget()
		execute("stop", nil)
		l.expect(f, "ring stopped", a.Socket, fmt.Sprintf(`"ring": %d,`, 2*session.MaxPairs))
		execute("cont", nil)
		l.expect(f, "ring started", a.Socket, fmt.Sprintf(`"ring": %d,`, 2*session.MaxPairs))
		before := l.taken(f, a)
		l.must(l.spread(a, b, 10))
		l.checkTaken(f, a, before, processors, true) // as it was
	})
	l.step("reset", func(l *lab) {
		l.must(a.app.Rebind(l.ctx, commandLimit))
		l.must(a.app.Address(l.ctx, commandLimit, a.address+"/24"))
		// A device without VIRTIO_NET_F_MAC has another address now, and what is sent to the one
		// before is filtered: b learns it from a's first packet.
		l.must(l.pings(a, b, 3, 56))
		l.must(l.pings(b, a, 3, 8000))
	})
	l.step("power off", func(l *lab) {
		l.together(func() error { return l.powerOff(a) }, func() error { return l.powerOff(b) })
		l.stop(f)
	})
}

// toolImage is image with ethtool and VLANs.
func (l *lab) toolImage() string {
	l.Helper()
	found, err := tools.Find(l.ctx, tools.Options{
		BuildDir: l.build, SourceDir: tools.SourceDir(), NeedMatrix: true, Progress: func(text string) { l.Log(text) },
	})
	l.must(err)
	path := filepath.Join(l.out, "guest.cpio.gz")
	_, err = initramfs.App{Busybox: l.tools.Busybox, Modules: l.tools.Modules, MoreModules: []string{"8021q", initramfs.GeneratorModule}, Files: found.Ethtool}.Save(path)
	l.must(err)
	return path
}

// pairsOf returns what vvufwd has counted at a guest's queue pairs that had traffic, by their number.
func (l *lab) pairsOf(f *forwarder, m *virtualMachine) map[int]counters.Port {
	l.Helper()
	pairs := map[int]counters.Port{}
	for _, p := range l.ports(f) {
		for pair := range session.MaxPairs {
			name := "vhost-user:" + m.Socket
			if pair > 0 {
				name += fmt.Sprintf("/q%d", pair)
			}
			if p.Name == name {
				pairs[pair] = p
			}
		}
	}
	return pairs
}

// taken is how many frames a guest was given at each of its queue pairs.
func (l *lab) taken(f *forwarder, m *virtualMachine) map[int]uint64 {
	l.Helper()
	taken := map[int]uint64{}
	for pair, p := range l.pairsOf(f, m) {
		taken[pair] = p.TxPackets
	}
	return taken
}

// drops are those at a guest's queue pairs, by reason.
func (l *lab) drops(f *forwarder, m *virtualMachine) map[string]uint64 {
	l.Helper()
	drops := map[string]uint64{}
	for _, p := range l.pairsOf(f, m) {
		for reason, n := range p.Drops {
			drops[reason] += n
		}
	}
	return drops
}

// checkTaken wants frames to have come since before, at none but the first chosen queue pairs: at each of them if the guest has a
// processor for each, which sends by it.
func (l *lab) checkTaken(f *forwarder, m *virtualMachine, before map[int]uint64, chosen int, each bool) {
	l.Helper()
	after := l.taken(f, m)
	total := uint64(0)
	for pair := range session.MaxPairs {
		n := after[pair] - before[pair]
		total += n
		if pair >= chosen && n > 0 || pair < chosen && each && n == 0 {
			l.Errorf("of %d chosen queue pairs %d got %d frames (%v, then %v)", chosen, pair, n, before, after)
		}
	}
	if total == 0 {
		l.Errorf("no frames came at any queue pair (%v)", after)
	}
}

// spread sends echo requests from each processor of a guest, and wants answers to all.
func (l *lab) spread(from, to *virtualMachine, count int) error {
	got, err := from.app.Spread(l.ctx, commandLimit, to.address, count)
	if err == nil && got.Received != got.Sent {
		err = fmt.Errorf("of %d echo requests from %d processors %d were answered", got.Sent, got.Processors, got.Received)
	}
	return err
}

// pingHost is pings for an address.
func (l *lab) pingHost(from *virtualMachine, host string, count int) error {
	got, err := from.app.Ping(l.ctx, commandLimit, host, count)
	if err == nil && got.Received != int64(count) {
		err = fmt.Errorf("%s to %s: %d of %d echo requests were answered", from.name, host, got.Received, count)
	}
	return err
}
