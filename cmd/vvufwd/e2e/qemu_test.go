package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/qmp"
)

const transferBytes = 16 << 20

// TestTwoGuests joins two virtual machines by one vvufwd: guest a's QEMU connects to vvufwd, vvufwd connects to guest b's. Everything
// that can come and go comes and goes: each machine, memory of one, vvufwd. Guest a has packed rings, b split ones.
func TestTwoGuests(t *testing.T) {
	l := newLab(t)
	image := l.image()
	a := l.machine("a", 1, image, l.socket("a"))
	b := l.machine("b", 2, image, l.socket("b"))
	a.Reconnect, a.NetOpts, a.Hotplug, a.QMP = true, "host_mtu=9000,packed=on", 128, l.socket("qmp")
	b.Listen, b.NetOpts = true, "host_mtu=9000"
	ends := [2]string{a.Socket, b.Socket + ",client"}
	f := l.forward(ends[0], ends[1])

	l.step("boot", func(l *lab) {
		l.switchOn(a)
		l.switchOn(b)
		l.together(func() error { return l.ready(a) }, func() error { return l.ready(b) })
		l.expect(f, "front-end limits", "9000")
		f.mark = 0
		l.expect(f, "features negotiated", a.Socket, "RING_PACKED")
	})
	l.step("pings", func(l *lab) {
		l.together(func() error { return l.pings(a, b, 8, 56) }, func() error { return l.pings(b, a, 8, 8000) })
	})
	l.step("transfers", func(l *lab) { l.transfers(a, b) })
	l.step("counters", func(l *lab) {
		l.eventually(func() error {
			ports := l.ports(f)
			return errors.Join(nothingLost(ports), l.received(a, ports[0]), l.received(b, ports[1]))
		})
		for _, p := range l.ports(f) {
			if p.RxBytes < transferBytes {
				l.Errorf("a port counted less than was transferred: %+v", p)
			}
		}
	})
	l.step("memory comes and goes", func(l *lab) { l.plugMemory(f, a, b) })
	l.step("memory in many pieces", func(l *lab) { l.plugPieces(f, a, b) })
	l.step("rings stop and start", func(l *lab) { l.stopAndStart(f, a, b) })
	l.step("kill a", func(l *lab) { l.killAndReturn(f, a, b) })
	b.NetOpts = "host_mtu=1400"
	l.step("kill b", func(l *lab) { l.killAndReturn(f, b, a) })
	l.step("mtu", func(l *lab) {
		f.mark = 0
		l.expect(f, "front-end limits", b.Socket, "1400")
		if got := [2]int{l.mtu(a), l.mtu(b)}; got != [2]int{9000, 1400} {
			l.Errorf("the guests' MTUs are %v", got)
		}
		l.must(l.pings(a, b, 3, 1372)) // the largest IP packet of 1400 bytes
		l.tooLong(f, a, b, 1377)       // a frame of 1419 bytes: one more than with a VLAN tag
	})
	l.step("vvufwd restarts", func(l *lab) {
		for range 3 { // rings stand anywhere, and no one is asked where
			l.stop(f)
			f = l.forward(ends[0], ends[1])
			f.mark = 0
			l.carry(f, a, b)
			l.together(func() error { return l.pings(a, b, 5, 56) }, func() error { return l.pings(b, a, 5, 1000) })
		}
	})
	l.step("power off", func(l *lab) {
		l.together(func() error { return l.powerOff(a) }, func() error { return l.powerOff(b) })
		l.stop(f)
	})
}

// transfers moves a file each way at the same time, and compares it.
func (l *lab) transfers(a, b *virtualMachine) {
	l.Helper()
	var made [2]guest.Transfer
	l.together(
		func() (err error) { made[0], err = a.app.Blob(l.ctx, commandLimit, transferBytes); return err },
		func() (err error) { made[1], err = b.app.Blob(l.ctx, commandLimit, transferBytes); return err },
	)
	l.together(
		func() error { return l.download(a, b, made[0]) },
		func() error { return l.download(b, a, made[1]) },
	)
}

// tooLong sends echo requests that are longer than the MTU of their receiver. Vvufwd must drop and count them.
func (l *lab) tooLong(f *forwarder, from, to *virtualMachine, size int) {
	l.Helper()
	const count = 3
	before := l.ports(f)[1].Drops["too_long"]
	got, err := from.app.PingSize(l.ctx, commandLimit, to.address, count, size)
	l.must(err)
	if got.Received != 0 {
		l.Errorf("%d of %d echo requests above the MTU were answered", got.Received, count)
	}
	// Of the download that the kill cut off there may be more.
	if dropped := l.ports(f)[1].Drops["too_long"] - before; dropped < count {
		l.Errorf("%d frames were counted as too long, want %d or more", dropped, count)
	}
}

// killAndReturn kills a guest under load and starts it again, without touching vvufwd.
func (l *lab) killAndReturn(f *forwarder, m, other *virtualMachine) {
	l.Helper()
	l.killUnderLoad(f, m, other)
	begin := time.Now()
	l.switchOn(m)
	l.must(l.ready(m))
	l.together(func() error { return l.pings(m, other, 5, 56) }, func() error { return l.pings(other, m, 5, 1000) })
	l.restartTime(m, begin)
}

// control gives commands to a guest's QEMU. Close is the caller's.
func (l *lab) control(m *virtualMachine) (q *qmp.Client, execute func(command string, arguments map[string]any)) {
	l.Helper()
	q, err := qmp.Dial(l.ctx, m.QMP)
	l.must(err)
	return q, func(command string, arguments map[string]any) {
		l.Helper()
		_, err := q.Execute(l.ctx, command, arguments)
		l.must(err)
	}
}

// plugMemory gives a running guest more memory and takes it away again. Its QEMU tells vvufwd of each (ADD_MEM_REG, REM_MEM_REG).
func (l *lab) plugMemory(f *forwarder, m, other *virtualMachine) {
	l.Helper()
	q, execute := l.control(m)
	defer q.Close()
	f.forget()
	execute("object-add", map[string]any{"qom-type": "memory-backend-memfd", "id": "more", "size": m.Hotplug << 20, "share": true})
	execute("device_add", map[string]any{"driver": "pc-dimm", "id": "dimm", "memdev": "more"})
	l.expect(f, "ADD_MEM_REG", m.Socket)
	l.must(l.pings(m, other, 3, 1000))
	f.forget()
	execute("device_del", map[string]any{"id": "dimm"})
	l.must(q.Await(l.ctx, "DEVICE_DELETED"))
	l.expect(f, "REM_MEM_REG", m.Socket)
	l.must(l.pings(other, m, 3, 1000))
}

// plugPieces gives a running guest memory in more files than fit a message. It keeps them until it is started again.
func (l *lab) plugPieces(f *forwarder, m, other *virtualMachine) {
	l.Helper()
	const pieces = 40
	q, execute := l.control(m)
	defer q.Close()
	f.forget()
	for i := range pieces {
		name := fmt.Sprint("piece", i)
		execute("object-add", map[string]any{"qom-type": "memory-backend-memfd", "id": name, "size": 2 << 20, "share": true})
		execute("device_add", map[string]any{"driver": "pc-dimm", "id": "dimm-" + name, "memdev": name})
		l.expect(f, "guest memory mapped", m.Socket)
	}
	l.must(l.pings(m, other, 3, 1000))
}

// stopAndStart takes a guest's rings through everything that stops them and lets them go on: a pause of the machine, a link that goes
// down and up, and a driver that releases the device and takes it again.
func (l *lab) stopAndStart(f *forwarder, m, other *virtualMachine) {
	l.Helper()
	q, execute := l.control(m)
	defer q.Close()
	for _, way := range []struct{ stop, start func() }{
		{func() { execute("stop", nil) }, func() { execute("cont", nil) }},
		{
			func() { execute("set_link", map[string]any{"name": "net", "up": false}) },
			func() { execute("set_link", map[string]any{"name": "net", "up": true}) },
		},
		{
			func() { l.must(m.app.Rebind(l.ctx, commandLimit)) },
			func() { l.must(m.app.Address(l.ctx, commandLimit, m.address+"/24")) },
		},
	} {
		f.forget()
		way.stop()
		l.expect(f, "ring stopped", m.Socket)
		l.expect(f, "ring stopped", m.Socket)
		way.start()
		l.carry(f, m)
		l.together(func() error { return l.pings(m, other, 3, 56) }, func() error { return l.pings(other, m, 3, 8000) })
	}
}
