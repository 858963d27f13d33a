package vvu

import (
	"context"
	"errors"
	"testing"

	"vvufwd/vfio/dma"
	"vvufwd/vvu/vhostuser"
	"vvufwd/vvu/vvutest"
)

// TestDeviceIsReplaced takes the device from an endpoint, with a front-end at work, and gives
// it back. The forwarder keeps its ports and its loop, front-ends are served again, and all
// of that takes no more DMA memory.
func TestDeviceIsReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		counted := &countingAllocator{Allocator: r.alloc}
		pool := dma.NewPool(counted)
		r.alloc = pool
		d := r.up()
		first := 0
		for i := range 4 {
			app := r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld})
			r.exchange(app, 3)
			d.stopEndpoint()
			<-d.ended
			must(t, d.endpoint.Detach())
			must(t, d.endpoint.Detach()) // there is nothing left to detach
			if n := r.pci.mapped(); n != 0 {
				t.Errorf("%d mappings of guest memory are left", n)
			}
			for _, g := range d.endpoint.Ports() {
				if g.State() != 0 {
					t.Errorf("%s still has rings", g.Name())
				}
			}
			must(t, app.Halt())
			r.drainWire()

			pool.Rewind()
			dev, err := Open("0000:00:05.0", r.pci, r.alloc, len(d.endpoint.Ports()))
			must(t, err)
			must(t, d.endpoint.Attach(dev))
			d.device = dev
			d.run()
			if i == 0 {
				first = counted.n
			} else if counted.n != first {
				t.Errorf("%d pieces of DMA memory after %d devices, %d after the first", counted.n, i+1, first)
			}
		}
		r.exchange(r.run(vvutest.AppConfig{Style: vhostuser.QEMUOld}), 3)
	})
}

// countingAllocator counts the pieces that it hands out.
type countingAllocator struct {
	Allocator
	n int
}

func (a *countingAllocator) Alloc(size, align int) (dma.Memory, error) {
	a.n++
	return a.Allocator.Alloc(size, align)
}

// TestOtherDeviceIsRefused: one that serves another number of queue pairs has no place for
// the ports that the forwarder knows.
func TestOtherDeviceIsRefused(t *testing.T) {
	r := newForkRig(t, vvutest.ForkConfig{})
	d := r.open()
	must(t, d.endpoint.Detach())
	dev, err := Open("0000:00:05.0", r.pci, r.alloc, 2)
	must(t, err)
	if err := d.endpoint.Attach(dev); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a device with %d queue pairs in place of one with %d: %v", dev.Pairs(), d.device.Pairs(), err)
	}
	must(t, dev.Close())
}
