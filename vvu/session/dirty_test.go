package session

import (
	"errors"
	"testing"

	"vvufwd/virtio"
	"vvufwd/virtio/mem"
	"vvufwd/vvu/vhostuser"
)

// Where writes have to be marked and cannot be, the session ends, and until it has no ring
// writes any more.
func TestNothingIsWrittenUnmarked(t *testing.T) {
	const features = virtio.Version1 | virtio.ProtocolFeatures | virtio.NetMQ
	log := vhostuser.Log{Size: 1 << 20 / mem.DirtyPage / 8}
	logging := vhostuser.U64(features | virtio.LogAll)
	for name, tc := range map[string]struct {
		prepare func(*bench)
		then    vhostuser.Message
	}{
		"from now on": {
			func(b *bench) { b.send(vhostuser.SetLogBase, log) },
			vhostuser.NewRequest(vhostuser.SetFeatures, logging),
		},
		"and with other features": {
			func(b *bench) { b.send(vhostuser.SetLogBase, log) },
			vhostuser.NewRequest(vhostuser.SetFeatures, logging|vhostuser.U64(virtio.EventIdx)),
		},
		"in another log": {
			func(b *bench) { b.send(vhostuser.SetFeatures, logging) },
			vhostuser.NewRequest(vhostuser.SetLogBase, log),
		},
		"in more memory": {
			func(b *bench) {
				b.carrier.logs = true
				b.send(vhostuser.SetLogBase, log)
				b.send(vhostuser.SetFeatures, logging)
			},
			vhostuser.NewRequest(vhostuser.AddMemReg, vhostuser.SingleRegion(more)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1)
			b.start(0)
			b.start(1)
			tc.prepare(b)
			if b.session.rings[0] == nil || b.session.rings[1] == nil {
				t.Fatal("the rings do not run")
			}
			if _, err := b.session.Handle(tc.then); !errors.Is(err, errUnlogged) {
				t.Errorf("%v: %v", tc.then, err)
			}
			if b.session.rings[0] != nil || b.session.rings[1] != nil {
				t.Error("the rings run on")
			}
		})
	}
}

// What was marked before the log came outlives memory that cannot be mapped.
func TestMarksOutliveMemory(t *testing.T) {
	b := newBench(t, 1)
	b.carrier.logs = true
	b.send(vhostuser.SetProtocolFeatures, vhostuser.U64(vhostuser.ProtoConfigureMemSlots|vhostuser.ProtoReplyAck))
	b.send(vhostuser.SetFeatures, vhostuser.U64(virtio.Version1|virtio.ProtocolFeatures|virtio.NetMQ|virtio.LogAll))
	b.send(vhostuser.AddMemReg, vhostuser.SingleRegion(more))
	b.session.dirty.Mark(5*mem.DirtyPage, 1)
	b.carrier.refuse = true
	if b.acked(vhostuser.RemMemReg, vhostuser.SingleRegion(more)) {
		t.Fatal("what cannot be mapped is acknowledged")
	}
	b.carrier.refuse = false
	b.send(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: 1 << 20, UVA: 1 << 30}})
	b.send(vhostuser.SetLogBase, vhostuser.Log{Size: 1 << 20 / mem.DirtyPage / 8})
	if b.carrier.log[0] != 1<<5 {
		t.Errorf("the log that came begins with %#x", b.carrier.log[0])
	}
}
