package vvu

import (
	"testing"

	"vvufwd/virtio/net/guest"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

var station = [6]byte{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}

// rarp asks for an announcement, as QEMU's announce-self does for a guest that does not
// announce itself, and as a migration would.
func rarp(t *testing.T, app *vvutest.App, mac [6]byte) {
	t.Helper()
	var v vhostuser.U64
	for i, b := range mac {
		v |= vhostuser.U64(b) << (8 * i)
	}
	must(t, app.Conn.WriteMessage(vhostuser.NewRequest(vhostuser.SendRARP, v)))
	must(t, app.Settle())
}

// announced compares the next frame on the wire.
func (r *rig) announced(mac [6]byte) {
	r.t.Helper()
	want, err := guest.NewAnnouncement(mac)
	must(r.t, err)
	got, err := r.wire.Pop()
	must(r.t, err)
	r.same("announcement", want[:], got)
}

// TestSendRARP: a front-end lets its guest be announced. The fork's device lets no front-end
// know that it could.
func TestSendRARP(t *testing.T) {
	r := newVvudevRig(t)
	r.up()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU, Pairs: 2})
	must(t, app.Connect())
	if !app.Front.Protocol().Has(vhostuser.ProtoRARP) {
		t.Fatalf("RARP is not offered: %v", app.Front.Protocol())
	}
	rarp(t, app, station) // waits for the guest to start
	must(t, app.Start())
	r.announced(station)
	r.exchangeAll(app, 0, 2, 1)
	for i := range 20 { // under load, and while the loop sleeps
		mac := station
		mac[5] = byte(i)
		r.wires[1].Push(frame(100, 1))
		rarp(t, app, mac)
		r.announced(mac)
		if _, err := app.ReceiveFrom(1); err != nil {
			t.Fatal(err)
		}
	}
	r.expect("cannot serve the front-end")
	rarp(t, app, [6]byte{1, 2, 3})
	r.exchangeAll(app, 0, 2, 2)
	if n := r.logs.FilterMessageSnippet("cannot serve the front-end").Len(); n != 1 {
		t.Errorf("%d complaints about the address of a group, want 1", n)
	}
	must(t, app.Sent())
	r.checkStop(app)
	must(t, app.Start())
	r.exchangeAll(app, 0, 2, 3) // which would find a further announcement
}

// TestAnnouncementEndsWithItsSession: what a front-end asked for is not sent for another.
func TestAnnouncementEndsWithItsSession(t *testing.T) {
	r := newVvudevRig(t)
	r.up()
	app := r.boot(vvutest.AppConfig{Style: vhostuser.QEMU})
	must(t, app.Connect())
	rarp(t, app, station)
	must(t, app.Halt())
	r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMU}), 2)
}

// TestKnownAddress: a guest whose address is configured is announced each time that it
// begins to send, for those behind the other port may be new.
func TestKnownAddress(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.address = station
		r.up()
		app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.announced(station)
		r.exchange(app, 2)
		must(t, app.Enable(1, false))
		must(t, app.Settle())
		must(t, app.Enable(1, true))
		must(t, app.Settle())
		r.exchange(app, 2) // no new guest, no new announcement
		r.checkStop(app)
		must(t, app.Start())
		r.announced(station)
		r.exchange(app, 2)
		must(t, app.Halt())
		r.restart()
		app = r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
		r.announced(station)
		r.exchange(app, 2)
	})
	if err := newForkRig(t, vvutest.ForkConfig{}).open().endpoint.SetAddress([6]byte{0xff}); err == nil {
		t.Error("the address of a group is taken for a guest's")
	}
}
