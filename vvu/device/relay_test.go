package device

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/virtio"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// connected is a rig with a driver and a front-end that are connected.
func connected(t testing.TB, f virtio.Features) (*rig, *driver, *vhostuser.Conn) {
	t.Helper()
	r := newRig(t)
	d := r.plug()
	d.bringUp(f)
	d.setUp(1)
	c := r.dialApp()
	d.waitStatus(statusBoth)
	return r, d, c
}

// TestManyMessages sends more than the queues hold, and lets indexes wrap.
func TestManyMessages(t *testing.T) {
	for name, f := range map[string]virtio.Features{"plain": 0, "event index": virtio.EventIdx, "both": virtio.EventIdx | virtio.IndirectDesc} {
		t.Run(name, func(t *testing.T) {
			_, d, c := connected(t, f)
			const n = 3000
			go func() {
				for i := range n {
					if c.WriteMessage(vhostuser.NewRequest(vhostuser.SetVringNum, vhostuser.VringState{Index: uint32(i), Num: 7})) != nil {
						return
					}
				}
			}()
			replies := make(chan error, 1)
			go func() {
				for i := range n {
					m, err := c.ReadMessage()
					var v vhostuser.U64
					if err == nil {
						err = v.Decode(m.Payload)
					}
					if err == nil && v != vhostuser.U64(i) {
						err = fmt.Errorf("reply %d is number %d", i, v)
					}
					if err != nil {
						replies <- err
						return
					}
				}
				replies <- nil
			}()
			for i := range n {
				var v vhostuser.VringState
				m := d.receive()
				must(t, v.Decode(m.Payload))
				if v.Index != uint32(i) {
					t.Fatalf("message %d is number %d", i, v.Index)
				}
				d.reply(vhostuser.Ack(vhostuser.SetVringNum, uint64(i)))
			}
			must(t, <-replies)
		})
	}
}

// TestDeafFrontend: a front-end that takes no replies holds up its own session
// and nothing else.
func TestDeafFrontend(t *testing.T) {
	_, d, c := connected(t, 0)
	var u vring.Used
	for range 100000 { // more than the socket holds
		d.tx.Completed()
		for d.tx.Take(&u) {
		}
		if d.tx.Free() < 2 {
			time.Sleep(10 * time.Millisecond)
			if d.tx.Completed() == 0 {
				break // held up
			}
			continue
		}
		d.send(vhostuser.Ack(vhostuser.SetOwner, 1).Append(nil))
	}
	send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
	d.receive()
	d.setUp(0) // no one blocks
	d.expectStatus(statusNone, "driver down")
	d.drained()
}

// TestHeldWhileNoBuffer: a message without a buffer waits for one.
func TestHeldWhileNoBuffer(t *testing.T) {
	_, d, c := connected(t, 0)
	for range ringSize + 3 {
		send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
	}
	eventually(t, "use of all buffers", func() bool { return d.rx.Completed() == ringSize })
	time.Sleep(20 * time.Millisecond) // for it to look for more buffers in vain
	got := 0
	for range ringSize + 3 {
		if m := d.receive(); m.Request == vhostuser.SetOwner {
			got++
		}
	}
	if got != ringSize+3 {
		t.Errorf("%d messages", got)
	}
}

// TestMaskedProtocolFeatures: what this device cannot carry is not offered, and
// accepting it anyway ends the session.
func TestMaskedProtocolFeatures(t *testing.T) {
	_, d, c := connected(t, 0)
	send(t, c, vhostuser.NewRequest(vhostuser.GetProtocolFeatures, nil))
	d.receive()
	d.reply(vhostuser.NewReply(vhostuser.GetProtocolFeatures, vhostuser.U64(^uint64(0))))
	m, err := c.ReadMessage()
	must(t, err)
	var v vhostuser.U64
	must(t, v.Decode(m.Payload))
	// MQ, RARP, REPLY_ACK, MTU, CROSS_ENDIAN, CONFIG, RESET_DEVICE, STATUS
	if want := vhostuser.U64(1<<0 | 1<<2 | 1<<3 | 1<<4 | 1<<6 | 1<<9 | 1<<13 | 1<<16); v != want {
		t.Errorf("protocol features %v, want %v", vhostuser.ProtocolFeatures(v), vhostuser.ProtocolFeatures(want))
	}
	send(t, c, vhostuser.NewRequest(vhostuser.SetProtocolFeatures, v))
	if m := d.receive(); len(m.Payload) != 8 {
		t.Errorf("driver got %v", m)
	}
	send(t, c, vhostuser.NewRequest(vhostuser.SetProtocolFeatures, v|1<<15))
	closed(t, c)
}

// TestKicks: a kick raises the ring's vector; one that finds none is kept.
func TestKicks(t *testing.T) {
	_, d, c := connected(t, 0)
	kick := eventfd(t)
	set := func(ring uint8, fd ...int) {
		send(t, c, vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: ring, NoFD: len(fd) == 0}, fd...))
		m := d.receive()
		if len(m.Payload) != 8 || m.Payload[0] != ring || (m.Payload[1] == 1) != (len(fd) == 0) {
			t.Errorf("driver got %v %x", m, m.Payload)
		}
	}
	vector := func(ring, v uint64) {
		d.write(barResources, notificationOffset+regSelect, 2, ring)
		d.write(barResources, notificationOffset+regVector, 2, v)
	}
	other := eventfd(t)
	set(3, other)
	// The device sees kicks in the order in which they were given: when it has seen this one, it has seen all before.
	seen := func() {
		signal(other)
		wait(t, "vector of ring 3", d.irq[vectorKick+3])
	}
	signal(kick) // before the device has it
	set(2, kick)
	wait(t, "vector of ring 2", d.irq[vectorKick+2])
	for range 10 {
		signal(kick)
		wait(t, "vector of ring 2", d.irq[vectorKick+2])
	}
	vector(2, uint64(virtio.NoVector))
	signal(kick)
	seen()
	if take(d.irq[vectorKick+2]) {
		t.Error("a ring without vector interrupts")
	}
	vector(2, vectorKick+5)
	wait(t, "vector that was set after the kick", d.irq[vectorKick+5])
	vector(2, vectorKick+2)

	second := eventfd(t)
	set(2, second)
	signal(kick)
	seen()
	if take(d.irq[vectorKick+2]) {
		t.Error("a replaced kick notifier interrupts")
	}
	signal(second)
	wait(t, "vector of the second notifier", d.irq[vectorKick+2])
	set(2)
	signal(second)
	seen()
	if take(d.irq[vectorKick+2]) {
		t.Error("a notifier that was taken away interrupts")
	}
	set(testRings, kick) // there is no such ring: passed on, not kept
}

// TestDoorbells: a store signals the call notifier of its ring, or the error
// notifier, until GET_VRING_BASE is answered.
func TestDoorbells(t *testing.T) {
	_, d, c := connected(t, 0)
	fds := map[vhostuser.Request]int{vhostuser.SetVringCall: eventfd(t), vhostuser.SetVringErr: eventfd(t)}
	for request, fd := range fds {
		send(t, c, vhostuser.NewRequest(request, vhostuser.VringFD{Index: 3}, fd))
		d.receive()
	}
	call, fail := fds[vhostuser.SetVringCall], fds[vhostuser.SetVringErr]
	for _, w := range []struct {
		at        uint64
		width     int
		call, err bool
	}{
		{3 * doorbellStride, 2, true, false},
		{3 * doorbellStride, 4, true, false},
		{3 * doorbellStride, 1, true, false},
		{2 * doorbellStride, 2, false, false},
		{(testRings + 3) * doorbellStride, 2, false, true},
		{2 * testRings * doorbellStride, 2, false, false},
		{doorbellLength - 2, 2, false, false},
	} {
		d.write(barResources, w.at, w.width, 3)
		if gotCall, gotErr := take(call), take(fail); gotCall != w.call || gotErr != w.err {
			t.Errorf("store of %d bytes at %#x: call %v, error %v", w.width, w.at, gotCall, gotErr)
		}
	}
	if v := d.read(barResources, 3*doorbellStride, 2); v != 0 {
		t.Errorf("doorbell reads %d", v)
	}
	// A full counter neither blocks nor fails.
	full := [8]byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	_, err := unix.Write(call, full[:])
	must(t, err)
	must(t, unix.SetNonblock(call, false))
	for range 3 {
		d.write(barResources, 3*doorbellStride, 2, 3)
	}
	must(t, unix.SetNonblock(call, true))
	take(call)

	send(t, c, vhostuser.NewRequest(vhostuser.GetVringBase, vhostuser.VringState{Index: 3}))
	d.receive()
	d.write(barResources, 3*doorbellStride, 2, 3) // the last completion
	if !take(call) {
		t.Error("the doorbell is dead before GET_VRING_BASE is answered")
	}
	d.reply(vhostuser.NewReply(vhostuser.GetVringBase, vhostuser.VringState{Index: 3, Num: 9}))
	m, err := c.ReadMessage()
	must(t, err)
	if m.Request != vhostuser.GetVringBase || m.Payload[4] != 9 {
		t.Errorf("reply %v %x", m, m.Payload)
	}
	d.write(barResources, 3*doorbellStride, 2, 3)
	if take(call) {
		t.Error("the doorbell works after GET_VRING_BASE")
	}
}

// TestRefusedMessages: each ends the session and nothing else. The driver never
// sees the message, and no descriptor is left behind.
func TestRefusedMessages(t *testing.T) {
	pipe := make([]int, 2)
	must(t, unix.Pipe2(pipe, unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	r, d, c := connected(t, 0)
	e := eventfd(t)
	for name, m := range map[string]vhostuser.Message{
		"version 0":        {Request: vhostuser.GetFeatures},
		"a reply":          vhostuser.NewReply(vhostuser.GetFeatures, nil),
		"request 0":        {Flags: 1},
		"SET_LOG_BASE":     vhostuser.NewRequest(vhostuser.SetLogBase, vhostuser.U64(0), e),
		"SET_BACKEND_REQ":  vhostuser.NewRequest(vhostuser.SetBackendReqFD, nil, e),
		"IOTLB":            vhostuser.NewRequest(vhostuser.IOTLBMsg, nil),
		"ADD_MEM_REG":      vhostuser.NewRequest(vhostuser.AddMemReg, vhostuser.SingleRegion{}, int(r.ram.file.Fd())),
		"inflight":         vhostuser.NewRequest(vhostuser.GetInflightFD, nil),
		"request 1000":     vhostuser.NewRequest(1000, nil, e, e, e),
		"short table":      vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.U64(1)),
		"table, no file":   vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: pageSize}}),
		"table, eventfd":   vhostuser.NewRequest(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: pageSize}}, e),
		"kick, no fd":      vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 1}),
		"kick, two":        vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 1}, e, e),
		"kick, unexpected": vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 1, NoFD: true}, e),
		"kick is a pipe":   vhostuser.NewRequest(vhostuser.SetVringKick, vhostuser.VringFD{Index: 1}, pipe[0]),
		"call is a pipe":   vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: 1}, pipe[1]),
		"kick, short":      vhostuser.NewRequest(vhostuser.SetVringKick, nil, e),
		"protocol, short":  vhostuser.NewRequest(vhostuser.SetProtocolFeatures, nil),
	} {
		send(t, c, m)
		d.waitStatus(statusNone)
		closed(t, c)
		if got, ok := d.tryReceive(); ok {
			t.Errorf("%s: driver got %v", name, got)
		}
		d.setUp(1)
		c = r.dialApp()
		d.waitStatus(statusBoth)
	}
	exchange(t, d, c)
}

// TestOversizedMessage: a payload that no buffer could hold is not even read.
func TestOversizedMessage(t *testing.T) {
	r, d, c := connected(t, 0)
	c.Close()
	d.waitStatus(statusNone)
	d.setUp(1)
	raw := rawApp(t, r)
	d.waitStatus(statusBoth)
	_, err := raw.Write(vhostuser.Header{Request: vhostuser.GetFeatures, Flags: 1, Size: vhostuser.MaxPayload + 1}.Append(nil))
	must(t, err)
	d.waitStatus(statusNone)
}

// TestDriverFaults: what a driver does wrong with its queues puts the device out
// of action until the driver resets it, and the front-end has to connect again.
func TestDriverFaults(t *testing.T) {
	ack := vhostuser.Ack(vhostuser.SetOwner, 0).Append(nil)
	for name, fault := range map[string]func(d *driver, c *vhostuser.Conn){
		"reply shorter than a header": func(d *driver, _ *vhostuser.Conn) { d.send(ack[:11]) },
		"reply shorter than it says":  func(d *driver, _ *vhostuser.Conn) { d.send(ack[:len(ack)-1]) },
		"reply longer than it says":   func(d *driver, _ *vhostuser.Conn) { d.send(append(ack, 0)) },
		"reply too long":              func(d *driver, _ *vhostuser.Conn) { d.send(make([]byte, bufferSize+1)) },
		"rx buffer too small": func(d *driver, c *vhostuser.Conn) {
			for range ringSize {
				send(d.t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
			}
			eventually(d.t, "use of all buffers", func() bool { return d.rx.Completed() == ringSize })
			var u vring.Used
			d.rx.Take(&u)
			d.post(1, 19)
			send(d.t, c, vhostuser.NewRequest(vhostuser.SetFeatures, vhostuser.U64(0)))
		},
		"avail index too far ahead": func(d *driver, _ *vhostuser.Conn) {
			_, avail, _ := d.tx.Addresses()
			d.mem[avail-iovaBase+2] = 0xff
			d.notify(txq)
		},
		"queue in no memory": func(d *driver, _ *vhostuser.Conn) {
			must(d.t, d.c.UnmapDMA(iovaBase, queueBytes*2))
			d.notify(txq)
		},
		"memory shrinks": func(d *driver, _ *vhostuser.Conn) {
			must(d.t, unix.Ftruncate(d.ram, 0))
			d.notify(txq)
			d.t.Cleanup(func() { must(d.t, unix.Ftruncate(d.ram, driverRAM)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, d, c := connected(t, virtio.EventIdx)
			fault(d, c)
			wait(t, "config vector", d.irq[vectorConfig])
			if s := d.virtioStatus(); s&virtio.StatusNeedsReset == 0 {
				t.Errorf("device status is %#x", s)
			}
			d.expectStatus(statusNone, name)
			closed(t, c)
			d.setUp(1)
			d.expectStatus(statusNone, "SLAVE_UP before the reset")

			must(t, unix.Ftruncate(d.ram, driverRAM))
			must(t, d.c.UnmapDMA(iovaBase, driverRAM))
			must(t, d.c.MapDMA(iovaBase, driverRAM, d.ram, 0))
			d.bringUp(0)
			d.setUp(1)
			c = r.dialApp()
			d.waitStatus(statusBoth)
			exchange(t, d, c)
		})
	}
}

// TestRemap: memory that goes away and comes back, at once or while a message
// waits, does no harm. The queues go on where they were.
func TestRemap(t *testing.T) {
	_, d, c := connected(t, virtio.EventIdx)
	for round := range 20 {
		must(t, d.c.UnmapDMA(iovaBase, driverRAM))
		if round%2 == 1 { // the message comes in between
			send(t, c, vhostuser.NewRequest(vhostuser.SetOwner, nil))
			time.Sleep(5 * time.Millisecond)
		}
		must(t, d.c.MapDMA(iovaBase, driverRAM, d.ram, 0))
		if round%2 == 1 {
			d.receive()
		}
		exchange(t, d, c)
	}
}

// TestUnansweredReplies: replies without a front-end are consumed and dropped.
func TestUnansweredReplies(t *testing.T) {
	r, d, c := connected(t, 0)
	c.Close()
	d.waitStatus(statusNone)
	for range 3 * ringSize {
		d.reply(vhostuser.Ack(vhostuser.SetOwner, 1))
	}
	d.drained()
	d.setUp(1)
	c = r.dialApp()
	d.waitStatus(statusBoth)
	exchange(t, d, c) // and not one of the others comes first
}

// TestOverlappingRings: a txq whose used ring is its avail ring always has one
// message more. It must not keep the device from anything else.
func TestOverlappingRings(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	if !d.negotiate(virtio.Version1 | virtio.AccessPlatform) {
		t.Fatal("features are refused")
	}
	clear(d.mem[:queueBytes])
	const avail = 0x1000
	wire := vhostuser.Ack(vhostuser.SetOwner, 0).Append(nil)
	copy(d.mem[0x8000:], wire)
	le := binary.LittleEndian
	le.PutUint64(d.mem[0:], iovaBase+0x8000)
	le.PutUint32(d.mem[8:], uint32(len(wire)))
	le.PutUint16(d.mem[avail+2:], 1)
	d.common(commonQueueSelect, 2, txq)
	d.common(commonQueueSize, 2, ringSize)
	d.common(commonQueueDesc, 8, iovaBase)
	d.common(commonQueueAvail, 8, iovaBase+avail)
	d.common(commonQueueUsed, 8, iovaBase+avail)
	d.common(commonQueueEnable, 2, 1)
	d.common(commonStatus, 1, uint64(d.virtioStatus()|virtio.StatusDriverOK))
	must(t, d.c.Conn.SetDeadline(time.Now().Add(5*time.Second)))
	d.notify(txq)
	for range 20 {
		d.virtioStatus() // is answered
		time.Sleep(time.Millisecond)
	}
	must(t, d.c.Conn.SetDeadline(time.Time{}))
	d.bringUp(0)
	d.setUp(1)
	c := r.dialApp()
	d.waitStatus(statusBoth)
	exchange(t, d, c)
}
