package vvu

import (
	"testing"

	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestControlQueue has a front-end that hands its guest's control queue over, as crosvm
// does: it is one vring more than those of all pairs, with a kick and a doorbell.
func TestControlQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		pairs := r.up().device.Pairs()
		features := vvutest.AllFeatures | virtio.NetCtrlVQ | virtio.NetCtrlRX | virtio.NetCtrlMACAddr
		for _, format := range []virtio.Features{0, virtio.RingPacked} {
			app := r.boot(vvutest.AppConfig{Style: vhostuser.Crosvm, Features: features | format, Pairs: pairs, Control: true})
			must(t, app.Connect())
			if n := app.Front.QueueNum(); n != uint64(2*pairs+1) {
				t.Errorf("GET_QUEUE_NUM says %d for %d pairs and a control queue", n, pairs)
			}
			command := func(want byte, class, command byte, data ...byte) {
				t.Helper()
				if got, err := app.Command(class, command, data...); err != nil || got != want {
					t.Fatalf("command %d of class %d is acknowledged with %d, %v, want %d", command, class, got, err, want)
				}
			}
			for round := range uint32(3) {
				must(t, app.Start())
				r.exchangeAll(app, 0, 1, round)
				command(0, 4, 0, byte(pairs), 0)
				for i := range uint32(3) {
					r.exchangeAll(app, 0, pairs, round+i)
				}
				command(1, 4, 0, byte(pairs+1), 0)
				command(0, 1, 1, 2, 0, 0, 0, 0, byte(round))
				command(0, 0, 0, 1)
				command(1, 99, 0)
				command(0, 4, 0, 1, 0)
				r.exchangeAll(app, 0, 1, round)
				at, err := app.Stop()
				must(t, err)
				if format == 0 && at[2*pairs] != 6 {
					t.Errorf("after 6 commands the control queue stands at %d", at[2*pairs])
				}
			}
			must(t, app.Halt())
			if n := r.logs.FilterMessageSnippet("more queue pairs than are served").Len(); n != 0 {
				t.Error("the control queue is taken for one too many")
			}
		}
	})
}

// TestConfigThroughTheDevice: what the guest reads of its device's configuration comes
// from here where the device lets it through.
func TestConfigThroughTheDevice(t *testing.T) {
	r := newVvudevRig(t)
	r.address = [6]byte{2, 1, 2, 3, 4, 5}
	pairs := r.up().device.Pairs()
	app := r.run(vvutest.AppConfig{Style: vhostuser.Crosvm})
	for _, piece := range []struct {
		offset uint32
		want   []byte
	}{
		{0, []byte{2, 1, 2, 3, 4, 5, 1, 0, byte(pairs), 0}}, {8, []byte{byte(pairs), 0}}, {10, []byte{0, 0}}, {60, []byte{0, 0, 0, 0}}, {300, []byte{0}},
	} {
		reply, err := app.Ask(vhostuser.NewRequest(vhostuser.GetConfig, vhostuser.Config{Offset: piece.offset, Data: make([]byte, len(piece.want))}))
		must(t, err)
		var c vhostuser.Config
		must(t, c.Decode(reply.Payload))
		r.same("configuration", piece.want, c.Data)
	}
	_, err := r.wire.Pop() // the announcement of an address that is known
	must(t, err)
	r.exchange(app, 2)
}
