package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/tools"
	"vvufwd/cmd/internal/lab/vm"
)

// TestOlderQEMUs joins guests of the QEMUs of Debian 12 and 13, each with split and with packed rings; TestTwoGuests has the newest.
// Each guest fetches a file from the other, its driver releases the device and takes it again, and vvufwd restarts under it.
func TestOlderQEMUs(t *testing.T) {
	l := newLab(t)
	image := l.image()
	older, newer := l.qemu("bookworm"), l.qemu("trixie")
	for _, way := range []struct {
		name string
		a, b machine.QEMU // of guest a, whose rings are split, and of b, whose rings are packed
	}{
		{"Debian 12 split, Debian 13 packed", older, newer},
		{"Debian 13 split, Debian 12 packed", newer, older},
	} {
		l.step(way.name, func(l *lab) {
			l.out = filepath.Join(l.out, strings.NewReplacer(" ", "-", ",", "").Replace(way.name))
			l.must(os.MkdirAll(l.out, 0o755))
			l.olderGuests(image, way.a, way.b)
		})
	}
}

func (l *lab) olderGuests(image string, older, newer machine.QEMU) {
	l.Helper()
	a := l.machine("a", 1, image, l.socket("a"))
	b := l.machine("b", 2, image, l.socket("b"))
	a.QEMU, a.Reconnect = older, true
	b.QEMU, b.Reconnect, b.NetOpts = newer, true, "packed=on"
	f := l.forward(a.Socket, b.Socket)
	l.switchOn(a)
	l.switchOn(b)
	l.together(func() error { return l.ready(a) }, func() error { return l.ready(b) })
	if line := l.featuresOf(f, a); vm.Containing("RING_PACKED")(line) {
		l.Errorf("guest a has packed rings: %s", line)
	}
	if line := l.featuresOf(f, b); !vm.Containing("RING_PACKED")(line) {
		l.Errorf("guest b has no packed rings: %s", line)
	}
	bothWays := func() {
		l.together(func() error { return l.pings(a, b, 3, 56) }, func() error { return l.pings(b, a, 3, 1400) })
	}
	bothWays()
	l.transfers(a, b)
	for _, m := range []*virtualMachine{a, b} {
		f.forget()
		l.must(m.app.Rebind(l.ctx, commandLimit))
		l.must(m.app.Address(l.ctx, commandLimit, m.address+"/24"))
		l.expect(f, "ring stopped", m.Socket)
		l.carry(f, m)
		bothWays()
	}
	l.eventually(func() error { return nothingLost(l.ports(f)) })
	l.stop(f)
	f = l.forward(a.Socket, b.Socket)
	f.mark = 0
	l.carry(f, a, b)
	bothWays()
	l.together(func() error { return l.powerOff(a) }, func() error { return l.powerOff(b) })
	l.stop(f)
}

// featuresOf returns the line in which vvufwd says what it negotiated with a guest.
func (l *lab) featuresOf(f *forwarder, m *virtualMachine) string {
	l.Helper()
	f.mark = 0
	return l.expect(f, "features negotiated", m.Socket, "VERSION_1")
}

// qemu is the QEMU of a Debian release.
func (l *lab) qemu(release string) machine.QEMU {
	l.Helper()
	q, err := tools.DebianQEMU(l.ctx, tools.Options{BuildDir: l.build, Progress: func(text string) { l.Log(text) }}, release)
	l.must(err)
	l.Logf("QEMU %v (%s)", q.Version, q.Origin)
	return q
}
