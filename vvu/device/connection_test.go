package device

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"
	"time"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

const (
	statusNone   = 0
	statusDriver = statusDriverUp
	statusBoth   = statusDriverUp | statusFrontendUp
)

// quiet checks that no config interrupt came.
func (d *driver) quiet(after string) {
	d.t.Helper()
	if take(d.irq[vectorConfig]) {
		d.t.Errorf("config interrupt after %s", after)
	}
}

func (d *driver) expectStatus(want uint32, after string) {
	d.t.Helper()
	if got := d.connection(); got != want {
		d.t.Errorf("status is %d after %s, want %d", got, after, want)
	}
}

// arrived waits until the device has noticed a front-end.
func (r *rig) arrived(want bool) {
	r.t.Helper()
	eventually(r.t, "change of the front-end", func() bool {
		r.dev.mu.Lock()
		defer r.dev.mu.Unlock()
		return (r.dev.session != nil) == want
	})
}

func send(t testing.TB, c *vhostuser.Conn, m vhostuser.Message) {
	t.Helper()
	must(t, c.WriteMessage(m))
}

// exchange passes one request and its reply through the device.
func exchange(t testing.TB, d *driver, c *vhostuser.Conn) {
	t.Helper()
	send(t, c, vhostuser.NewRequest(vhostuser.GetFeatures, nil))
	if m := d.receive(); m.Request != vhostuser.GetFeatures || m.Flags != vhostuser.Version || len(m.Payload) != 0 {
		t.Fatalf("driver got %v", m)
	}
	d.reply(vhostuser.NewReply(vhostuser.GetFeatures, vhostuser.U64(0x123456789)))
	m, err := c.ReadMessage()
	must(t, err)
	if m.Request != vhostuser.GetFeatures || m.Flags != vhostuser.ReplyFlags || binary.LittleEndian.Uint64(m.Payload) != 0x123456789 {
		t.Fatalf("front-end got %v", m)
	}
}

// TestStates walks through the connection states in every order that there is
// (contract 2.2, with the differences that the package comment names).
func TestStates(t *testing.T) {
	type step func(t *testing.T, r *rig, d *driver) (c *vhostuser.Conn)
	driverFirst := func(t *testing.T, r *rig, d *driver) *vhostuser.Conn {
		d.setUp(1)
		d.expectStatus(statusDriver, "driver up")
		d.quiet("driver up")
		c := r.dialApp()
		d.waitStatus(statusBoth)
		return c
	}
	frontendFirst := func(t *testing.T, r *rig, d *driver) *vhostuser.Conn {
		c := r.dialApp()
		r.arrived(true)
		d.expectStatus(statusNone, "front-end connected")
		d.quiet("front-end connected")
		d.setUp(1)
		d.waitStatus(statusBoth)
		return c
	}
	for name, begin := range map[string]step{"driver first": driverFirst, "front-end first": frontendFirst} {
		for name2, end := range map[string]func(t *testing.T, r *rig, d *driver, c *vhostuser.Conn){
			"front-end leaves": func(t *testing.T, r *rig, d *driver, c *vhostuser.Conn) {
				c.Close()
				d.waitStatus(statusNone)
			},
			"driver goes down": func(t *testing.T, r *rig, d *driver, c *vhostuser.Conn) {
				d.setUp(0)
				d.expectStatus(statusNone, "driver down")
				closed(t, c)
				d.quiet("driver down")
			},
			"driver resets": func(t *testing.T, r *rig, d *driver, c *vhostuser.Conn) {
				d.bringUp(0)
				d.expectStatus(statusNone, "reset")
				closed(t, c)
				d.quiet("reset")
			},
			"function is reset": func(t *testing.T, r *rig, d *driver, c *vhostuser.Conn) {
				must(t, d.c.Reset())
				closed(t, c)
				d.bringUp(0)
				d.expectStatus(statusNone, "reset")
				d.quiet("reset")
			},
			"front-end breaks the protocol": func(t *testing.T, r *rig, d *driver, c *vhostuser.Conn) {
				send(t, c, vhostuser.Message{Request: vhostuser.GetFeatures, Flags: 2})
				d.waitStatus(statusNone)
				closed(t, c)
			},
			"driver breaks the protocol": func(t *testing.T, r *rig, d *driver, c *vhostuser.Conn) {
				d.reply(vhostuser.NewRequest(vhostuser.GetFeatures, nil)) // no reply
				d.waitStatus(statusNone)
				closed(t, c)
			},
		} {
			t.Run(name+", "+name2, func(t *testing.T) {
				r := newRig(t)
				d := r.plug()
				d.bringUp(0)
				c := begin(t, r, d)
				exchange(t, d, c)
				end(t, r, d, c)
				r.arrived(false)
				if s := d.virtioStatus(); s&virtio.StatusNeedsReset != 0 {
					t.Error("the device needs a reset")
				}
				exchange(t, d, begin(t, r, d)) // and again
			})
		}
	}
}

// TestFrontendLeavesBeforeDriver: who gives up waiting makes room for the next,
// also if it has sent something already.
func TestFrontendLeavesBeforeDriver(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	d.bringUp(0)
	for range 3 {
		c := r.dialApp()
		send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
		r.arrived(true)
		c.Close()
		r.arrived(false)
	}
	d.expectStatus(statusNone, "front-ends that left")
	c := r.dialApp()
	// What a front-end sends before the driver is up waits for it, in order.
	send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
	send(t, c, vhostuser.NewRequest(vhostuser.GetQueueNum, nil))
	d.setUp(1)
	d.waitStatus(statusBoth)
	for _, want := range []vhostuser.Request{vhostuser.SetOwner, vhostuser.GetQueueNum} {
		if m := d.receive(); m.Request != want {
			t.Errorf("driver got %v, want %v", m, want)
		}
	}
}

// TestOneFrontendAtATime: the second waits until the first is gone.
func TestOneFrontendAtATime(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	d.bringUp(0)
	d.setUp(1)
	first := r.dialApp()
	d.waitStatus(statusBoth)
	second := r.dialApp()
	send(t, second, vhostuser.NewRequest(vhostuser.SetOwner, nil))
	exchange(t, d, first)
	if m, ok := d.tryReceive(); ok {
		t.Fatalf("message %v of the second front-end", m)
	}
	first.Close()
	d.waitStatus(statusNone)
	d.setUp(1)
	d.waitStatus(statusBoth)
	if m := d.receive(); m.Request != vhostuser.SetOwner {
		t.Errorf("driver got %v", m)
	}
}

// TestDriverVMs: one driver VM after the other, and one app VM after the other,
// without a leak of descriptors.
func TestDriverVMs(t *testing.T) {
	r := newRig(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	const rounds, settled = 12, 2
	before := 0
	for round := range rounds {
		d := r.plug() // is served when nothing is left of the one before
		if round == settled {
			before = count()
		}
		d.bringUp(virtio.EventIdx)
		for range 5 {
			d.setUp(1)
			c := r.dialApp()
			d.waitStatus(statusBoth)
			exchange(t, d, c)
			startRings(t, d, c)
			c.Close()
			d.waitStatus(statusNone)
		}
		c := r.dialApp() // connected when the driver VM dies
		d.setUp(1)
		d.waitStatus(statusBoth)
		d.unplug()
		closed(t, c)
		c.Close()
		eventually(t, "end of the driver VM", func() bool {
			r.dev.mu.Lock()
			defer r.dev.mu.Unlock()
			return r.dev.host == nil && r.dev.session == nil
		})
	}
	r.plug()
	// Each round leaves the test's own eventfds until the end of the test.
	own := (rounds - settled) * (testRings + 3 + 2*5)
	eventually(t, fmt.Sprintf("descriptors are closed, but for %d from the beginning and %d of the test", before, own), func() bool {
		return count() <= before+own
	})
}

// startRings hands a kick and a call notifier over.
func startRings(t testing.TB, d *driver, c *vhostuser.Conn) (kick, call int) {
	t.Helper()
	kick, call = eventfd(t), eventfd(t)
	send(t, c, vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 0}, kick))
	send(t, c, vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: 0}, call))
	for range 2 {
		d.receive()
	}
	return kick, call
}

// TestStatusWrites: byte by byte works, undefined bits do not, other fields are
// not the driver's.
func TestStatusWrites(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	d.bringUp(0)
	generation := d.read(barVirtio, commonGeneration, 1)
	for i, b := range []uint64{1, 0, 0, 0} {
		d.write(barVirtio, uint64(configOffset+i), 1, b)
	}
	d.expectStatus(statusDriver, "byte writes")
	d.setUp(3) // the front-end's bit is ignored
	d.expectStatus(statusDriver, "setting both bits")
	d.write(barVirtio, configOffset+configQueues, 4, 1)
	if n := d.read(barVirtio, configOffset+configQueues, 4); n != testRings {
		t.Errorf("max_vhost_queues became %d", n)
	}
	r.dialApp()
	d.waitStatus(statusBoth)
	if g := d.read(barVirtio, commonGeneration, 1); g == generation {
		t.Error("config generation has not changed")
	}
	if v := d.read(barVirtio, isrOffset, 1); v != isrQueue|isrConfig {
		t.Errorf("ISR reads %d", v)
	}
	if v := d.read(barVirtio, isrOffset, 1); v != 0 {
		t.Errorf("ISR reads %d again", v)
	}
	d.setUp(5)
	wait(t, "config vector", d.irq[vectorConfig])
	if s := d.virtioStatus(); s&virtio.StatusNeedsReset == 0 {
		t.Errorf("device status %#x after an undefined status bit", s)
	}
	d.setUp(1)
	d.expectStatus(statusNone, "SLAVE_UP while a reset is needed")
	d.bringUp(0)
	d.setUp(1)
	d.expectStatus(statusDriver, "reset")
}

// TestConfigInterruptNeedsDriverOK: no one is interrupted before it can be.
func TestConfigInterruptNeedsDriverOK(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	d.negotiate(virtio.Version1 | virtio.AccessPlatform)
	d.common(commonConfigVector, 2, vectorConfig)
	d.setUp(1)
	c := r.dialApp()
	send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
	eventually(t, "connection", func() bool { return d.connection() == statusBoth })
	time.Sleep(10 * time.Millisecond)
	d.quiet("a connection before DRIVER_OK")
}
