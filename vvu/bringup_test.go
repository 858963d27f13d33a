package vvu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
	"vvufwd/virtio"
	"vvufwd/vvu/session"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// Common configuration registers (virtio 1.3, 4.1.4.3).
const (
	commonDriverFeature = 0x0c
	commonConfigVector  = 0x10
	commonStatus        = 0x14
	commonQueueVector   = 0x1a
	commonQueueEnable   = 0x1c
)

// step names an access that the bring-up order is about, or returns "".
func step(d *Device, a access) string {
	switch off := a.off; {
	case a.bar == d.caps.Common.BAR && off-d.caps.Common.Offset < 0x38:
		switch off - d.caps.Common.Offset {
		case commonStatus:
			if a.write {
				return fmt.Sprintf("status %#02x", a.value)
			}
			return "read status"
		case commonDriverFeature:
			return "features"
		case commonConfigVector:
			if a.write {
				return fmt.Sprintf("config vector %d", a.value)
			}
		case commonQueueVector:
			if a.write {
				return "queue vector"
			}
		case commonQueueEnable:
			if a.write {
				return "queue enable"
			}
		}
	case a.bar == d.caps.Notification.BAR && off == d.caps.Notification.Offset+regNotifyVector:
		if a.write {
			return fmt.Sprintf("kick vector %d", a.value)
		}
		return "read kick vector"
	case a.bar == d.caps.Notify.BAR && off-d.caps.Notify.Offset < d.caps.Notify.Length:
		return fmt.Sprintf("notify %d", a.value)
	case a.bar == d.caps.Device.BAR && off == d.caps.Device.Offset+cfgStatus && a.write:
		return fmt.Sprintf("up %d", a.value)
	}
	return ""
}

// TestBringUpOrder compares the driver's first steps with contract 2.3.
func TestBringUpOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		d := r.open().device
		d.setUp(true)
		var got []string
		for _, a := range r.pci.accesses() {
			if s := step(d, a); s != "" {
				got = append(got, s)
			}
		}
		// The device is in reset and is not reset again, see Device.reset: that is looked
		// at before the queues' sizes are, and to start.
		want := []string{
			"read status", "read status",
			"status 0x01", "status 0x03", "features", "features", "status 0x0b", "read status",
		}
		for ring := range int(d.rings()) {
			want = append(want, fmt.Sprintf("kick vector %d", 3+ring), "read kick vector")
		}
		want = append(want,
			"queue vector", "queue enable", "queue vector", "queue enable",
			"config vector 0", "status 0x0f", "notify 0", "up 1",
		)
		if !slices.Equal(got, want) {
			t.Errorf("order of steps:\n got %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
		}
	})
}

// TestRecognise refuses what cannot be served, and says why: the PCI id alone is
// also that of virtio-mem.
func TestRecognise(t *testing.T) {
	for says, cfg := range map[string]vvutest.ForkConfig{
		"no doorbell capability":      {Without: vvutest.CapDoorbell},
		"no notification capability":  {Without: vvutest.CapNotification},
		"no shared memory capability": {Without: vvutest.CapSharedMemory},
		"configuration space":         {Without: vvutest.CapDevice},
		"disable-legacy=on":           {Without: vvutest.CapCommon},
		"4 MSI-X vectors, 5 are":      {Vectors: 4},
		"does not accept":             {RefuseFeatures: true},
		"beyond BAR 2":                {BARSize: 0x3000},
	} {
		t.Run(says, func(t *testing.T) {
			r := newForkRig(t, cfg)
			_, err := Open("0000:00:05.0", r.pci, r.alloc, session.MaxPairs)
			var problem *pci.DeviceError
			if !errors.As(err, &problem) || problem.Remedy == "" || problem.Device != "0000:00:05.0" || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want a device error with a remedy that says %q", err, says)
			}
			if r.fork.Raised() != 0 {
				t.Error("the device was told that the driver is up")
			}
		})
	}
}

// TestFewestVectors: what the error asks for is enough.
func TestFewestVectors(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{Vectors: 5})
	r.up()
	r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld}), 3)
}

// TestStaleVectors: numbers that an earlier driver left in the notification
// registers must not take ours away (contract 6.3).
func TestStaleVectors(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	r.fork.LeaveVector(0, vectorConfig)
	r.fork.LeaveVector(1, vectorRx)
	d := r.open().device
	d.setUp(true)
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMUOld})
	awaitVector(t, r, "configuration", vectorConfig)
	must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.GetFeatures, nil)))
	awaitVector(t, r, "rxq", vectorRx)
	m, ok, err := d.messages.receive()
	if err != nil || !ok || m.Request != vhostuser.GetFeatures {
		t.Fatalf("received %v, %v, %v", m, ok, err)
	}
	must(t, d.messages.send(vhostuser.NewReply(m.Request, vhostuser.U64(0))))
	awaitVector(t, r, "txq", vectorTx)
}

func awaitVector(t *testing.T, r *rig, name string, vector int) {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(r.pci.Vector(vector)), Events: unix.POLLIN}}
	for deadline := time.Now().Add(5 * time.Second); ; {
		n, err := unix.Poll(p, 100)
		if n == 1 {
			return
		}
		if err != nil && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			t.Fatalf("the vector of %s does not fire (%v)", name, err)
		}
	}
}

// TestClose leaves a device that does nothing any more and holds no vectors.
func TestClose(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	for _, with := range []string{"no one", "a front-end"} {
		r.up()
		if with == "a front-end" {
			r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld}), 2)
		}
		r.down()
		if r.fork.DriverOK() || r.fork.Connection() != 0 {
			t.Errorf("with %s: DRIVER_OK %v, status %d", with, r.fork.DriverOK(), r.fork.Connection())
		}
		for ring := range session.Rings(session.MaxPairs) {
			if v := r.fork.RingVector(ring); v != virtio.NoVector {
				t.Errorf("with %s: ring %d keeps vector %d", with, ring, v)
			}
		}
	}
}

// TestMaxQueues reads the device's number of vrings.
func TestMaxQueues(t *testing.T) {
	if n := newForkRig(t, vvutest.ForkConfig{}).open().device.MaxQueues(); n != 1024 {
		t.Errorf("fork: %d vrings", n)
	}
	if n := newVvudevRig(t).open().device.MaxQueues(); n != uint32(session.Rings(vvudevPairs)) {
		t.Errorf("vvudev: %d vrings", n)
	}
}
