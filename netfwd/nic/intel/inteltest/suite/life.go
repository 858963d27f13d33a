package suite

import (
	"context"
	"errors"
	"strings"
	"testing"

	"vvufwd/netfwd/nic"
	"vvufwd/netfwd/nic/intel/inteltest"
	virtionet "vvufwd/virtio/net"
	"vvufwd/virtio/net/nettest"
	virtiopci "vvufwd/virtio/pci"
)

func interrupts(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	q := r.queue()
	rx, tx := 1, 2
	r.Receive(0, numbered(1, 60), inteltest.Arrival{})
	if r.Fired(rx) {
		t.Error("an interrupt while polled")
	}
	if frames, _ := q.EnableKicks(false); !frames {
		t.Error("a frame that is there already is not found")
	}
	q.DisableKicks()
	receive(q)
	r.Fired(rx)
	for range 3 {
		if frames, _ := q.EnableKicks(false); frames || r.Fired(rx) {
			t.Error("woken for frames that were taken")
		}
		r.Receive(0, numbered(2, 60), inteltest.Arrival{})
		if !r.Fired(rx) || r.Fired(tx) {
			t.Error("no interrupt for a frame, or one for another ring")
		}
		q.DisableKicks()
		receive(q)
		if r.Receive(0, numbered(3, 60), inteltest.Arrival{}); r.Fired(rx) {
			t.Error("an interrupt while polled")
		}
		receive(q)
	}
	for send(q, nettest.Frame(numbered(1, 60))) == 1 {
	}
	if _, room := q.EnableKicks(true); room {
		t.Error("room in a full ring")
	}
	r.Transmit(0, 1000)
	if !r.Fired(tx) {
		t.Error("no interrupt for what was sent")
	}
	q.DisableKicks()
	q.InFlight()
	if _, room := q.EnableKicks(true); !room {
		t.Error("no room in an empty ring")
	}
	if len(q.WakeFDs()) != 2 || q.WakeFDs()[0] != r.Vector(rx) {
		t.Errorf("wakes at %v", q.WakeFDs())
	}
}

// link follows the cable.
func link(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	if up, err := r.Card.Link(); !up || err != nil {
		t.Fatalf("link up: %v, %v", up, err)
	}
	for _, r.Deaf = range []bool{false, true} { // with interrupts, and when they are lost
		ctx, cancel := context.WithCancel(t.Context())
		changes := make(chan bool, 10)
		done := make(chan error)
		go func() { done <- r.Card.Watch(ctx, func(up bool) { changes <- up }) }()
		for _, up := range []bool{false, true, false, true} {
			r.SetLink(up)
			if got := <-changes; got != up {
				t.Errorf("link up: %v, want %v", got, up)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// gone is a card that was pulled out.
func gone(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	r.Gone = true
	if err := r.Card.Watch(t.Context(), func(bool) {}); !errors.Is(err, virtiopci.ErrAbsent) {
		t.Errorf("Watch: %v", err)
	}
	r.Card.Statistics()
	if err := r.Card.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	f := inteltest.NewFunction(t, kind)
	f.Gone = true
	if _, err := d.Open(f, Config(f)); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v", err)
	}
}

// closed is a card that was closed: it must not touch memory any more.
func closed(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	resets := r.Resets
	if err := r.Card.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Resets == resets {
		t.Error("the chip was not reset")
	}
	if r.Room(0) != 0 {
		t.Error("it still receives")
	}
	if kind != inteltest.I82576VF && r.Peek(0x18)&(1<<28) != 0 {
		t.Error("firmware thinks that there is a driver")
	}
	again, err := d.Open(r.Function, Config(r.Function))
	if err != nil {
		t.Fatalf("a second time: %v", err)
	}
	r.Card = again
	r.Receive(0, numbered(1, 60), inteltest.Arrival{})
	if got := receive(r.queue()); len(got) != 1 {
		t.Errorf("received %d after it was opened again", len(got))
	}
}

func fewVectors(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	f := inteltest.NewFunction(t, kind)
	f.Vectors = 0
	if _, err := d.Open(f, Config(f)); err == nil || !strings.Contains(err.Error(), "MSI-X") || !strings.Contains(err.Error(), "0000:00:04.0") {
		t.Errorf("without MSI-X: %v", err)
	}
}

// memory is scarce: what fails leaves the chip reset.
func memory(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	for n := 1; n <= 4; n++ {
		f := inteltest.NewFunction(t, kind)
		f.Memory().Fail = n
		if _, err := d.Open(f, Config(f)); err == nil {
			t.Errorf("allocation %d fails, and Open does not", n)
		}
		if f.Room(0) != 0 {
			t.Errorf("allocation %d fails, and the chip receives", n)
		}
	}
}

// abandon and recover drop what is held and lose no buffer.
func abandon(t *testing.T, kind inteltest.Kind, d nic.Driver) {
	r := Open(t, kind, d)
	q := r.queue()
	var b virtionet.Burst
	for range 10 * ringSize {
		for i := range 8 { // with a tag they are not plain
			r.Receive(0, numbered(i, 60), inteltest.Arrival{VLAN: 5})
		}
		if q.Receive(&b); b.Len() != 8 || b.Plain() {
			t.Fatalf("received %d, plain %v", b.Len(), b.Plain())
		}
		q.Release(&b, 0, 3)
		q.Recover()
		for i := range 8 {
			r.Receive(0, numbered(i, 60), inteltest.Arrival{})
		}
		q.Receive(&b)
		q.Release(&b, 0, 3)
		q.Recover()
		if q.Receive(&b); b.Len() != 5 || !b.Plain() { // they come again
			t.Fatalf("received %d, plain %v", b.Len(), b.Plain())
		}
		q.Release(&b, 0, 5)
	}
	if c := r.queue().Counters(); c.Drops[virtionet.DropStopped] != 10*ringSize*5 {
		t.Errorf("dropped %+v", c.Drops)
	}
}
