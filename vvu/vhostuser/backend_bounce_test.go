package vhostuser

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBounce is the status of the fork's device falling in a running session.
func TestBounce(t *testing.T) {
	d := running(t, allConfig)
	d.must(vringFD(SetVringCall, 0))
	d.work(33)
	d.bounce()
	want := wantRing(0, 9+33)
	want.Held, want.HaveKick, want.Callable, want.Ready = true, false, false, false
	if diff := cmp.Diff(want, d.b.Ring(0)); diff != "" {
		t.Errorf("ring 0 after a bounce (-want +got):\n%s", diff)
	}
	if !d.b.Features().Has(testFeatures) || d.b.Protocol() != SupportedProtocol || d.b.Regions() != nil {
		t.Errorf("features %v, protocol %v, regions %v", d.b.Features(), d.b.Protocol(), d.b.Regions())
	}

	// The session goes on: the guest resets its device and starts it again.
	d.takeEffects()
	d.replies = nil
	d.must(NewRequest(GetFeatures, nil), state(GetVringBase, 0, 0))
	if diff := cmp.Diff(NewReply(GetVringBase, VringState{Num: 9 + 33}), d.replies[1]); diff != "" {
		t.Errorf("position after a bounce (-want +got):\n%s", diff)
	}
	d.must(tableMessage)
	d.must(startMessages(0)...)
	if got := d.takeEffects(); got != "memory, ring 0" || !d.running[0] || d.running[1] {
		t.Errorf("effects %q, rings %v", got, d.runningRings())
	}

	// A new front-end: QEMU sets protocol features before it sets the owner.
	d.bounce()
	d.must(NewRequest(GetFeatures, nil), NewRequest(SetProtocolFeatures, U64(ProtoMQ)), NewRequest(SetOwner, nil))
	if got := d.takeEffects(); got != "reset" || d.b.Protocol() != ProtoMQ || d.b.Features() != 0 || d.b.Ring(0).Num != 0 {
		t.Errorf("effects %q, protocol %v, features %v, ring 0 %+v", got, d.b.Protocol(), d.b.Features(), d.b.Ring(0))
	}
	// It is the session's owner now; saying so again changes nothing.
	d.must(tableMessage)
	d.must(startMessages(1)...)
	d.must(NewRequest(SetOwner, nil))
	if !d.running[1] || d.b.Regions() == nil {
		t.Error("a repeated SET_OWNER ended the session")
	}
	// A new front-end that sets the owner first gets no protocol features of old.
	d.bounce()
	d.must(NewRequest(SetOwner, nil))
	if d.b.Protocol() != 0 {
		t.Errorf("protocol features %v of the session before", d.b.Protocol())
	}
	// A fault is forgiven.
	if err := d.handle(NewRequest(0, nil)); err == nil || d.b.Fault() == nil {
		t.Fatal("no fault")
	}
	d.bounce()
	if d.b.Fault() != nil {
		t.Errorf("still failed: %v", d.b.Fault())
	}
}
