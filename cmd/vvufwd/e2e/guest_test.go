package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/counters"
	"vvufwd/cmd/internal/lab/guest"
	"vvufwd/cmd/internal/lab/initramfs"
	"vvufwd/cmd/internal/lab/machine"
	"vvufwd/cmd/internal/lab/vm"
)

// virtualMachine is an unmodified Linux guest in QEMU, whose network card is a vhost-user socket.
type virtualMachine struct {
	machine.App
	name    string
	address string // without prefix length

	process *vm.Process
	app     *guest.App
	boots   int
}

const guestMemoryMiB = 192

// image writes the RAM disk of the guests.
func (l *lab) image() string {
	l.Helper()
	path := filepath.Join(l.out, "guest.cpio.gz")
	_, err := initramfs.App{Busybox: l.tools.Busybox, Modules: l.tools.Modules}.Save(path)
	l.must(err)
	return path
}

// machine describes the number-th guest of a test, without switching it on.
func (l *lab) machine(name string, number int, image, socket string) *virtualMachine {
	return &virtualMachine{
		name: name, address: fmt.Sprintf("10.0.0.%d", number),
		App: machine.App{
			Boot: machine.Boot{
				QEMU: l.tools.AppQEMU, Kernel: l.tools.Kernel, Initrd: image, Accel: "tcg", SMP: 1, MemoryMiB: guestMemoryMiB,
			},
			Socket: socket, MAC: fmt.Sprintf("52:54:00:00:01:%02x", number),
			// Nothing is sent that no one asked for, and memory that is plugged in stays unused, so that it can be pulled out.
			KernelArgs: []string{"ipv6.disable=1", "memhp_default_state=offline"},
		},
	}
}

// switchOn starts QEMU.
func (l *lab) switchOn(m *virtualMachine) {
	l.Helper()
	var err error
	m.process, err = vm.Start(vm.Config{
		Name: "guest " + m.name, Argv: m.Argv(), LogPath: filepath.Join(l.out, "guest-"+m.name+".log"), Append: m.boots > 0,
	})
	l.must(err)
	m.boots++
	process := m.process
	l.atEnd(func() { process.Close() })
}

// ready waits until the guest has booted and gives it its address.
func (l *lab) ready(m *virtualMachine) error {
	app, mac, err := guest.WaitReady(l.ctx, m.process, bootLimit)
	if err != nil {
		return err
	}
	if m.MAC != "" && mac != m.MAC {
		return fmt.Errorf("guest %s has the hardware address %s, want %s", m.name, mac, m.MAC)
	}
	m.app = app
	return app.Address(l.ctx, commandLimit, m.address+"/24")
}

// pings are echo requests of one guest to another, with size data bytes, all of which must be answered.
func (l *lab) pings(from, to *virtualMachine, count, size int) error {
	got, err := from.app.PingSize(l.ctx, commandLimit, to.address, count, size)
	if err != nil {
		return err
	}
	if got.Sent != int64(count) || got.Received != got.Sent {
		return fmt.Errorf("%s to %s, %d bytes: of %d echo requests %d were sent and %d answered", from.name, to.name, size, count, got.Sent, got.Received)
	}
	return nil
}

// download fetches a file of the given size from one guest to another and compares it with what was made there.
func (l *lab) download(from, to *virtualMachine, made guest.Transfer) error {
	got, err := to.app.Fetch(l.ctx, commandLimit, "http://"+from.address+"/blob")
	if err != nil {
		return err
	}
	if got.Bytes != made.Bytes || got.SHA256 != made.SHA256 {
		return fmt.Errorf("%s got %d bytes with SHA-256 %s from %s, which has %d with %s", to.name, got.Bytes, got.SHA256, from.name, made.Bytes, made.SHA256)
	}
	l.Logf("%s to %s: %.0f Mbit/s", from.name, to.name, float64(got.Bytes)*8/1e6/got.Took.Seconds())
	return nil
}

// received compares what a guest got with what its port sent.
func (l *lab) received(m *virtualMachine, port counters.Port) error {
	d, err := m.app.Device(l.ctx, commandLimit)
	if err != nil {
		return err
	}
	if d.RxPackets != port.TxPackets || d.RxBytes != port.TxBytes {
		return fmt.Errorf("guest %s received %d frames of %d bytes; its port sent %+v", m.name, d.RxPackets, d.RxBytes, port)
	}
	return nil
}

// killUnderLoad kills a guest's QEMU in the middle of a download from the other guest, once enough has reached it for its rings
// to have wrapped several times.
func (l *lab) killUnderLoad(f *forwarder, m, from *virtualMachine) {
	l.Helper()
	const enough = 4 << 20
	before := l.delivered(f, m)
	l.must(m.app.StartFetch("http://" + from.address + "/endless"))
	l.eventually(func() error {
		if got := l.delivered(f, m) - before; got < enough {
			return fmt.Errorf("the download before the kill moved only %d bytes", got)
		}
		return nil
	})
	f.forget()
	l.must(m.process.Kill())
	l.expect(f, "front-end disconnected", m.Socket)
}

// delivered is the number of bytes that vvufwd had sent to a guest when it last printed its statistics.
func (l *lab) delivered(f *forwarder, m *virtualMachine) uint64 {
	for _, p := range f.counters.Last().Ports {
		if strings.HasSuffix(p.Name, m.Socket) {
			return p.TxBytes
		}
	}
	return 0
}

// powerOff makes a guest end by itself.
func (l *lab) powerOff(m *virtualMachine) error { return m.app.PowerOff(l.ctx, stopLimit) }

// mtu is what the guest's network device has taken as its MTU.
func (l *lab) mtu(m *virtualMachine) int {
	l.Helper()
	d, err := m.app.Device(l.ctx, commandLimit)
	l.must(err)
	return d.MTU
}

// restartTime tells how long a guest was away.
func (l *lab) restartTime(m *virtualMachine, since time.Time) {
	l.Logf("%s forwards again %.1f s after the kill", m.name, time.Since(since).Seconds())
}
