package shadow_test

import (
	"bytes"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	virtionet "vvufwd/virtio/net"
	"vvufwd/vvu/shadow"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

var style = vvutest.AppConfig{Style: vhostuser.QEMU}

// said is how often something was logged.
func said(logs *observer.ObservedLogs, message string) int { return logs.FilterMessage(message).Len() }

// Everyone comes and goes in any order. An app VM notices nothing of a driver VM that is replaced.
func TestEveryOrder(t *testing.T) {
	r := newRig(t, rigConfig{})

	// The app VM is there first: its front-end gets its answers, and what it sends is dropped.
	app := r.boot(style)
	must(t, app.Send(frame(1)))
	must(t, app.Sent())
	d := r.drive()
	r.served(d)
	exchange(t, app, d, 1)

	// The driver VM is replaced, under the same connection of the app VM.
	d.stop()
	eventually(t, "the end of the session", func() bool { return r.shadow.Ports()[0].State() == virtionet.StateIdle })
	must(t, app.Send(frame(2)))
	must(t, app.Sent())
	d = r.drive()
	r.served(d)
	exchange(t, app, d, 2)
	must(t, app.Settle())

	// The guest resets its device. The driver VM sees nothing of it.
	_, err := app.Stop()
	must(t, err)
	must(t, app.Start())
	exchange(t, app, d, 3)
	if n := said(d.logs, "front-end disconnected"); n != 0 {
		t.Errorf("the driver VM saw %d front-ends go", n)
	}

	// The app VM is killed and comes back, which the driver VM sees.
	must(t, app.Halt())
	eventually(t, "word in the driver VM that the front-end is gone", func() bool { return said(d.logs, "front-end disconnected") == 1 })
	app = r.boot(style)
	r.served(d)
	exchange(t, app, d, 4)

	// Both go, and come in the other order.
	must(t, app.Halt())
	d.stop()
	d = r.drive()
	app = r.boot(style)
	r.served(d)
	exchange(t, app, d, 5)
}

// Rings of the app VM are in the file that it shares, of any size: several app VMs one after the other,
// each with a memory of its own.
func TestEachAppVMHasItsOwnMemory(t *testing.T) {
	r := newRig(t, rigConfig{})
	d := r.drive()
	for k := range 3 {
		r.ram = vvutest.NewRAM(t)
		app := r.boot(style)
		r.served(d)
		exchange(t, app, d, k)
		must(t, app.Halt())
		eventually(t, "the end of the session", func() bool { return r.shadow.Ports()[0].State() == virtionet.StateIdle })
	}
}

// A link that the driver VM takes down goes down for the app VM: its front-end is refused until it is
// up again.
func TestLink(t *testing.T) {
	r := newRig(t, rigConfig{})
	d := r.drive()
	app := r.boot(style)
	r.served(d)
	d.endpoint.SetLink(false)
	if _, err := app.Conn.ReadMessage(); !vhostuser.PeerClosed(err) {
		t.Fatalf("the front-end is still connected: %v", err)
	}
	must(t, app.Halt())
	refused, err := vhostuser.Dial(r.app)
	must(t, err)
	if _, err := refused.ReadMessage(); !vhostuser.PeerClosed(err) {
		t.Fatalf("a front-end is not refused: %v", err)
	}
	d.endpoint.SetLink(true)
	eventually(t, "a front-end that is let in", func() bool {
		if app, err = vvutest.Boot(r.ram, r.app, style); err != nil {
			return false
		}
		if err = app.Connect(); err != nil {
			app.Halt()
			return false
		}
		return true
	})
	t.Cleanup(func() { app.Halt() })
	must(t, app.Start())
	r.served(d)
	exchange(t, app, d, 1)

	// A driver VM that goes while the link is down leaves it up.
	d.endpoint.SetLink(false)
	if _, err := app.Conn.ReadMessage(); !vhostuser.PeerClosed(err) {
		t.Fatalf("the front-end is still connected: %v", err)
	}
	d.stop()
	eventually(t, "a front-end that is let in", func() bool {
		c, err := vhostuser.Dial(r.app)
		must(t, err)
		defer c.Close()
		if c.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)) != nil {
			return false
		}
		_, err = c.ReadMessage()
		return err == nil
	})
}

// What the app VM's guest takes at most the driver VM knows, also if it is said late.
func TestMTU(t *testing.T) {
	r := newRig(t, rigConfig{})
	d := r.drive()
	app := r.boot(style)
	r.served(d)
	for _, mtu := range []uint64{1400, 9000} {
		_, err := app.Ask(vhostuser.Message{Request: vhostuser.NetSetMTU, Flags: vhostuser.Version | vhostuser.FlagNeedReply, Payload: vhostuser.U64(mtu).Append(nil)})
		must(t, err)
		eventually(t, "word of the MTU in the driver VM", func() bool {
			for _, e := range d.logs.FilterMessage("the front-end limits what its guest takes").All() {
				if n, ok := e.ContextMap()["mtu"].(uint16); ok && uint64(n) == mtu {
					return true
				}
			}
			return false
		})
	}
	exchange(t, app, d, 1)
	d.stop()
	d = r.drive()
	r.served(d)
	eventually(t, "word of the MTU in the next driver VM", func() bool { return said(d.logs, "the front-end limits what its guest takes") > 0 })
}

// The app VM's guest uses several queue pairs: so does the driver VM.
func TestQueuePairs(t *testing.T) {
	const pairs = 3
	r := newRig(t, rigConfig{pairs: 4})
	d := r.drive()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU, Pairs: pairs})
	active := func() (n int) {
		for _, p := range d.endpoint.Ports() {
			if p.State() == virtionet.StateActive {
				n++
			}
		}
		return n
	}
	eventually(t, "as many queue pairs in the driver VM", func() bool { return active() == pairs })
	eventually(t, "frames through all of them", func() bool {
		for pair := range pairs {
			must(t, app.SendTo(pair, frame(pair)))
			d.wires[pair].Push(frame(pair))
			if _, err := app.TryReceiveFrom(pair); err != nil {
				t.Fatal(err)
			}
		}
		ports := d.balancer.Collect().Ports // with a wire after each queue pair
		for pair := range pairs {
			if ports[2*pair].RxPackets == 0 || app.Done(2*pair) == 0 {
				return false
			}
		}
		return true
	})
	for ring := 2; ring < 2*pairs; ring++ {
		must(t, app.Enable(ring, false))
	}
	must(t, app.Settle())
	eventually(t, "one queue pair in the driver VM", func() bool { return active() == 1 })
}

// A driver VM with fewer queue pairs is fine.
func TestDriverWithFewerQueuePairs(t *testing.T) {
	r := newRig(t, rigConfig{pairs: 4})
	d := r.driveWith(2)
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU, Pairs: 3})
	r.served(d)
	out, in := frame(1), frame(2)
	must(t, app.SendTo(2, out))
	eventually(t, "a frame of the third pair", func() bool {
		ports := d.balancer.Collect().Ports
		return ports[0].RxPackets+ports[2].RxPackets > 0
	})
	d.wires[1].Push(in)
	eventually(t, "a frame for one of three pairs", func() bool {
		for pair := range 3 { // the flow's, or any
			got, err := app.TryReceiveFrom(pair)
			must(t, err)
			if got != nil {
				return bytes.Equal(got, in)
			}
		}
		return false
	})
}

// An app VM that has arrived after a migration is announced to the network of the driver VM's NIC.
func TestAnnouncement(t *testing.T) {
	r := newRig(t, rigConfig{})
	d := r.drive()
	app := r.boot(style)
	r.served(d)
	const mac = "\x52\x54\x00\x00\x00\x0a"
	var v vhostuser.U64
	for i := range mac {
		v |= vhostuser.U64(mac[i]) << (8 * i)
	}
	must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.SendRARP, v)))
	must(t, app.Settle())
	got, err := d.wires[0].Pop()
	must(t, err)
	if len(got) < 14 || string(got[6:12]) != mac || got[12] != 0x80 || got[13] != 0x35 {
		t.Errorf("what is announced is % x", got)
	}
}

// A guest that runs already when its front-end connects, as after a migration, loses nothing to the time that
// a session with the driver VM takes to begin, nor to the end of the one before.
func TestFirstFramesWait(t *testing.T) {
	r := newRig(t, rigConfig{grace: time.Minute})
	d := r.drive()
	for round := range 10 {
		app := r.boot(style) // and no wait
		for k := range 5 {
			must(t, app.Send(frame(10*round+k)))
		}
		for k := range 5 {
			got, err := d.wires[0].Pop()
			must(t, err)
			if !bytes.Equal(got, frame(10*round+k)) {
				t.Fatalf("round %d: frame %d differs, or was lost", round, k)
			}
		}
		must(t, app.Halt())
	}
}

// They wait at every queue pair: who forwards may learn only after the next front-end is there which of them the
// session before has left.
func TestFirstFramesWaitAtEveryQueuePair(t *testing.T) {
	const pairs = 3
	m, err := shadow.NewMemory(shadow.Need(pairs))
	must(t, err)
	defer m.Close()
	s, err := shadow.New(shadow.Config{Name: "shadow", Memory: m, Pairs: pairs, Grace: time.Hour})
	must(t, err)
	for session := range uint64(2) {
		s.SetFrontend(shadow.Frontend{Session: session + 1})
		for _, p := range s.Ports() {
			if done := p.Transmit(nil, 0, 1); done != 0 {
				t.Errorf("session %d: a frame at %s is dropped", session, p.Name())
			}
		}
	}
}

// What a front-end says while its guest goes on, memory that it plugs and takes out again included, is no business of the
// driver VM's, which has one session all the time, and costs neither side a frame.
func TestDriverVMNoticesNoDisturbance(t *testing.T) {
	const frames = 30
	for _, disturbance := range vvutest.Disturbances() {
		t.Run(disturbance.Name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{})
			d := r.drive()
			app := r.boot(style)
			r.served(d)
			disturb := func() {
				for range 3 {
					must(t, app.Disturb(disturbance))
				}
			}
			for k := range frames {
				must(t, app.Send(frame(k)))
				d.wires[0].Push(frame(1000 + k))
			}
			disturb()
			for k := range frames {
				got, err := d.wires[0].Pop()
				must(t, err)
				if !bytes.Equal(got, frame(k)) {
					t.Fatalf("out of the app VM, frame %d differs, or was lost", k)
				}
			}
			disturb()
			for k := range frames {
				got, err := app.Receive()
				must(t, err)
				if !bytes.Equal(got, frame(1000+k)) {
					t.Fatalf("into the app VM, frame %d differs, or was lost", k)
				}
			}
			if came, left := said(d.logs, "front-end connected"), said(d.logs, "front-end disconnected"); came != 1 || left != 0 {
				t.Errorf("in the driver VM a front-end came %d times, and left %d times", came, left)
			}
		})
	}
}
