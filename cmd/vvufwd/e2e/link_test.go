package e2e

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"vvufwd/netfwd"
	"vvufwd/netfwd/netfwdtest"
	"vvufwd/virtio/net/guest"
	"vvufwd/vvu/socket"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// standstill is how long QEMU may take for an answer. With nothing to wait for it takes milliseconds.
const standstill = 3 * time.Second

// TestGuestSeesLink takes the link of a guest down, which goes on running, and up again; and QEMU has its guest announced.
func TestGuestSeesLink(t *testing.T) {
	l := newLab(t)
	m := l.machine("a", 1, l.image(), l.socket("a"))
	m.Reconnect, m.QMP = true, l.socket("qmp")
	endpoint, wire := l.endpoint(m.Socket)
	l.step("boot", func(l *lab) {
		l.switchOn(m)
		l.must(l.ready(m))
		l.carrier(m, true)
	})
	l.step("announcement", func(l *lab) {
		q, execute := l.control(m)
		defer q.Close()
		execute("announce-self", map[string]any{"initial": 50, "max": 50, "rounds": 2, "step": 0})
		want, err := guest.NewAnnouncement([6]byte{0x52, 0x54, 0, 0, 1, 1})
		l.must(err)
		for range 2 {
			if got, err := wire.Pop(); err != nil || !bytes.Equal(got, want[:]) {
				l.Fatalf("announced %x, %v, want %x", got, err, want[:])
			}
		}
	})
	for range 2 {
		l.step("link down", func(l *lab) {
			endpoint.SetLink(false)
			l.carrier(m, false)
			l.awake(m, 5*time.Second) // QEMU tries to connect each second
			l.carrier(m, false)
		})
		l.step("link up", func(l *lab) {
			endpoint.SetLink(true)
			l.carrier(m, true)
			l.frames(m, wire)
		})
	}
	l.step("power off", func(l *lab) { l.must(l.powerOff(m)) })
}

// endpoint serves a socket here, so that the test can reach it, with a wire at its other side.
func (l *lab) endpoint(path string) (*socket.Endpoint, *vvutest.Wire) {
	l.Helper()
	listener, err := vhostuser.Listen(path)
	l.must(err)
	e := socket.Listen(listener, 1, zap.NewNop())
	wire := vvutest.NewWire(l.whole)
	_, stopLoop := netfwdtest.Join(l.whole, netfwd.Config{
		CPU: -1, IdleAfter: time.Millisecond, OnFault: func(_ []netfwd.Port, err error) { l.whole.Errorf("fault: %v", err) },
	}, e.Ports()[0], wire)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- e.Run(ctx) }()
	l.atEnd(func() {
		cancel()
		if err := <-served; err != nil {
			l.whole.Errorf("endpoint: %v", err)
		}
		stopLoop()
		e.Close()
	})
	return e, wire
}

// carrier waits until the guest sees a link, or none.
func (l *lab) carrier(m *virtualMachine, want bool) {
	l.Helper()
	l.eventually(func() error {
		if up, err := m.app.Carrier(l.ctx, commandLimit); err != nil || up != want {
			return fmt.Errorf("the guest has a carrier: %v, %w, want %v", up, err, want)
		}
		return nil
	})
}

// awake asks a guest's QEMU again and again, which must not keep anyone waiting.
func (l *lab) awake(m *virtualMachine, long time.Duration) {
	l.Helper()
	q, execute := l.control(m)
	defer q.Close()
	longest := time.Duration(0)
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		asked := time.Now()
		execute("query-status", nil)
		longest = max(longest, time.Since(asked))
	}
	if longest > standstill {
		l.Errorf("QEMU stalled for %v", longest)
	}
	l.Logf("QEMU answered within %v", longest)
}

// frames makes the guest send: echo requests for an address that no one has begin with a question for it.
func (l *lab) frames(m *virtualMachine, wire *vvutest.Wire) {
	l.Helper()
	wire.Discard()
	if got, err := m.app.Ping(l.ctx, commandLimit, "10.0.0.77", 1); err != nil || got.Received != 0 {
		l.Fatalf("%d answers from no one, %v", got.Received, err)
	}
	got, err := wire.Pop()
	l.must(err)
	const etherType, arp = 12, "\x08\x06"
	if len(got) < etherType+2 || string(got[etherType:etherType+2]) != arp {
		l.Errorf("the guest sent %x, want an ARP request", got)
	}
}
