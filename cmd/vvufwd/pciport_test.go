package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"go.uber.org/zap"

	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// fakeKeeper has a function that came back once and then stays: who awaits it, and does not ask
// for it again, waits for ever. It cannot open the function the number of times that fails says.
type fakeKeeper struct {
	fails int
	asked []string
	gone  bool // from who awaits it: the function was handed over
	stop  context.CancelFunc
}

func (k *fakeKeeper) Await(ctx context.Context, _ pci.Address) (vfio.Files, error) {
	k.asked = append(k.asked, "await")
	if k.gone {
		k.stop()
		return vfio.Files{}, ctx.Err()
	}
	return k.open()
}

func (k *fakeKeeper) Again(context.Context, pci.Address) (vfio.Files, error) {
	k.asked = append(k.asked, "again")
	k.gone = false
	return k.open()
}

func (k *fakeKeeper) open() (vfio.Files, error) {
	if k.fails > 0 {
		k.fails--
		return vfio.Files{}, errors.New("it cannot be opened")
	}
	k.gone = true
	return vfio.Files{}, nil
}

// fakeOccupant is a driver whose device does not start the first times.
type fakeOccupant struct {
	occupant
	fails    int
	attached bool
}

func (o *fakeOccupant) attach(*vfio.Device) error {
	if o.fails > 0 {
		o.fails--
		return errors.New("the PHY is not there yet")
	}
	o.attached = true
	return nil
}

// TestBackButNotReady: a device that is back and does not start is tried again where it is.
func TestBackButNotReady(t *testing.T) {
	for _, test := range []struct {
		keeper, device int // how often each fails
		want           []string
	}{
		{0, 0, []string{"await"}},
		{0, 2, []string{"await", "again", "again"}},
		{2, 1, []string{"await", "await", "await", "again"}},
	} {
		ctx, stop := context.WithCancel(t.Context())
		k, o := &fakeKeeper{fails: test.keeper, stop: stop}, &fakeOccupant{fails: test.device}
		p := &pciPort{occupant: o, keeper: k, log: zap.NewNop()}
		p.takeBack(ctx, func(vfio.Files) error { return p.attach(nil) })
		stop()
		if !o.attached || !slices.Equal(k.asked, test.want) {
			t.Errorf("attached %t after %v, want %v", o.attached, k.asked, test.want)
		}
	}
}

// TestStoppedWhileAway: without a device there is nothing to serve until the end.
func TestStoppedWhileAway(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	p := &pciPort{occupant: &fakeOccupant{}, keeper: &fakeKeeper{gone: true, stop: stop}, log: zap.NewNop()}
	p.takeBack(ctx, func(vfio.Files) error { return errors.New("there is none") })
	if err := p.control(ctx); err != nil {
		t.Error(err)
	}
}
