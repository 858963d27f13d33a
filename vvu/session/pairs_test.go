package session

import (
	"slices"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"vvufwd/virtio"
	"vvufwd/virtio/net/guest"
	"vvufwd/virtio/vring"
	"vvufwd/vvu/vhostuser"
)

// bench is a session of several pairs whose front-end is the test.
type bench struct {
	t        *testing.T
	carrier  *fakeCarrier
	session  *Session
	guests   []*guest.Port
	installs []atomic.Int32 // by pair
	logs     *observer.ObservedLogs
}

func newBench(t *testing.T, pairs int) *bench { return newBenchWith(t, pairs, &fakeCarrier{}) }

func newBenchWith(t *testing.T, pairs int, carrier *fakeCarrier) *bench {
	core, logs := observer.New(zap.InfoLevel)
	b := &bench{t: t, carrier: carrier, guests: NewGuests("port", pairs, zap.New(core)), installs: make([]atomic.Int32, pairs), logs: logs}
	for i := range b.carrier.kicks {
		b.carrier.kicks[i] = 1000 + i
	}
	for i, g := range b.guests {
		g.OnChange(func() { b.installs[i].Add(1) })
		serve(t, g)
	}
	t.Cleanup(func() { b.session.Reset() })
	b.session = New(b.carrier, vhostuser.BackendConfig{Protocol: vhostuser.ProtoMTU | vhostuser.ProtoConfigureMemSlots | vhostuser.ProtoReplyAck | vhostuser.ProtoLogShmFD}, b.guests, zap.New(core))
	b.send(vhostuser.SetFeatures, vhostuser.U64(virtio.Version1|virtio.ProtocolFeatures|virtio.NetMQ))
	b.send(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: 1 << 20, UVA: 1 << 30}})
	return b
}

func (b *bench) send(r vhostuser.Request, p vhostuser.Payload) *vhostuser.Message {
	b.t.Helper()
	reply, err := b.session.Handle(vhostuser.NewRequest(r, p))
	if err != nil {
		b.t.Fatal(err)
	}
	return reply
}

// start starts a ring.
func (b *bench) start(ring int) {
	b.t.Helper()
	i, at := uint32(ring), uint64(1<<30+ring<<12)
	b.send(vhostuser.SetVringNum, vhostuser.VringState{Index: i, Num: 16})
	b.send(vhostuser.SetVringAddr, vhostuser.VringAddr{Index: i, Desc: at, Avail: at + uint64(vring.TableBytes(16)), Used: at + 1024})
	b.send(vhostuser.SetVringKick, vhostuser.VringFD{Index: uint8(ring)})
}

// counts takes the number of installs by pair.
func (b *bench) counts() []int32 {
	var n []int32
	for i := range b.installs {
		n = append(n, b.installs[i].Swap(0))
	}
	return n
}

func (b *bench) check(what string, want ...int32) {
	b.t.Helper()
	if got := b.counts(); !slices.Equal(got, want) {
		b.t.Errorf("%s: %v installs by pair, want %v", what, got, want)
	}
}

// A pair that has nothing is never installed, and one that has is only when it changes.
func TestOnlyChangedPairsAreInstalled(t *testing.T) {
	b := newBench(t, 3)
	b.check("negotiation and memory", 0, 0, 0)
	b.send(vhostuser.SetVringCall, vhostuser.VringFD{Index: 4})
	b.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: 3, Num: 1})
	b.check("call and enable of idle pairs", 0, 0, 0)
	b.start(2)
	b.check("start of ring 2", 0, 1, 0)
	b.send(vhostuser.SetVringEnable, vhostuser.VringState{Index: 2, Num: 1})
	b.check("enabling ring 2", 0, 1, 0)
	b.start(3)
	b.check("start of ring 3", 0, 1, 0)
	b.start(0)
	b.check("start of ring 0", 1, 0, 0)
	if fds := b.guests[1].WakeFDs(); !slices.Equal(fds, []int{1002, 1003}) {
		t.Errorf("pair 1 waits for %v", fds)
	}
	b.send(vhostuser.NetSetMTU, vhostuser.U64(1400))
	b.check("MTU", 1, 1, 0)
	b.send(vhostuser.SetFeatures, vhostuser.U64(virtio.Version1|virtio.ProtocolFeatures))
	b.check("features: stopped, then started", 2, 2, 0)
	if reply := b.send(vhostuser.GetVringBase, vhostuser.VringState{Index: 2}); reply == nil {
		t.Fatal("no reply to a stop")
	}
	b.check("stop of ring 2", 0, 1, 0)
	if fds := b.guests[1].WakeFDs(); !slices.Equal(fds, []int{1003}) {
		t.Errorf("pair 1 waits for %v, with ring 2 stopped", fds)
	}
	b.send(vhostuser.GetVringBase, vhostuser.VringState{Index: 3})
	b.check("stop of ring 3", 0, 1, 0)
	if fds := b.guests[1].WakeFDs(); len(fds) != 0 {
		t.Errorf("pair 1 waits for %v, with all stopped", fds)
	}
	if err := b.session.Reset(); err != nil {
		t.Fatal(err)
	}
	b.check("reset", 1, 1, 0)
	if err := b.session.Bounce(); err != nil {
		t.Fatal(err)
	}
	b.check("bounce of what is empty", 0, 0, 0)
}

// MQ is offered by a session of several pairs, and by no other, and never without what it
// depends on (5.1.3.1). The protocol's is in any case: some front-ends serve no back-end without it.
func TestMQIsOffered(t *testing.T) {
	for pairs, want := range map[int]bool{1: false, 2: true, MaxPairs: true} {
		b := newBench(t, pairs)
		var features, protocol, rings vhostuser.U64
		for r, v := range map[vhostuser.Request]*vhostuser.U64{
			vhostuser.GetFeatures: &features, vhostuser.GetProtocolFeatures: &protocol, vhostuser.GetQueueNum: &rings,
		} {
			if err := v.Decode(b.send(r, nil).Payload); err != nil {
				t.Fatal(err)
			}
		}
		mq, proto := virtio.Features(features).Has(virtio.NetMQ), vhostuser.ProtocolFeatures(protocol).Has(vhostuser.ProtoMQ)
		if mq != want || !proto || int(rings) != 2*pairs+1 || !virtio.Features(features).Has(virtio.NetCtrlVQ) {
			t.Errorf("%d pairs: %v, protocol MQ %v, %d rings", pairs, virtio.Features(features), proto, rings)
		}
	}
}

// NOTIFY_ON_EMPTY is offered, and rings know whether it was accepted.
func TestNotifyOnEmptyIsOffered(t *testing.T) {
	for _, accepted := range []virtio.Features{0, virtio.NotifyOnEmpty} {
		memory := make([]byte, 1<<20)
		b := newBenchWith(t, 1, &fakeCarrier{memory: memory})
		var offered vhostuser.U64
		if err := offered.Decode(b.send(vhostuser.GetFeatures, nil).Payload); err != nil || !virtio.Features(offered).Has(virtio.NotifyOnEmpty) {
			t.Errorf("offered: %v, %v", virtio.Features(offered), err)
		}
		b.send(vhostuser.SetFeatures, vhostuser.U64(virtio.ProtocolFeatures|accepted))
		b.start(1)
		memory[1<<12+vring.TableBytes(16)] = 1 // NO_INTERRUPT
		if got := b.session.rings[1].NeedSignal(); got != (accepted != 0) {
			t.Errorf("accepted %v: an interrupt for an empty ring: %v", accepted, got)
		}
	}
}

// A ring that is not in memory stops alone.
func TestOtherPairsStartWithoutABadOne(t *testing.T) {
	b := newBench(t, 2)
	b.start(0)
	b.send(vhostuser.SetVringNum, vhostuser.VringState{Index: 2, Num: 16})
	b.send(vhostuser.SetVringAddr, vhostuser.VringAddr{Index: 2, Desc: 1, Avail: 1, Used: 1})
	b.send(vhostuser.SetVringKick, vhostuser.VringFD{Index: 2})
	b.start(3)
	if n := b.logs.FilterMessageSnippet("cannot serve the front-end").Len(); n != 1 {
		t.Errorf("%d complaints, want 1", n)
	}
	b.counts()
	// The table comes again: the good ones go on, the bad one is complained about again.
	b.send(vhostuser.SetMemTable, vhostuser.MemoryTable{{Size: 1 << 20, UVA: 1 << 30}})
	b.check("a new memory table", 2, 2)
	if n := b.logs.FilterMessageSnippet("cannot serve the front-end").Len(); n != 2 {
		t.Errorf("%d complaints, want 2", n)
	}
	if n := b.logs.FilterMessageSnippet("ring started").Len(); n != 4 {
		t.Errorf("%d starts, want 4", n)
	}
}
