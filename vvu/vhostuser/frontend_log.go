package vhostuser

import (
	"fmt"

	"vvufwd/virtio"
)

// SetLog gives the back-end a dirty log, whose file is fd, and waits until it writes to no
// other. The front-end must have the memory table sent before.
func (f *Frontend) SetLog(l Log, fd int) error {
	return f.play("log", func(f *Frontend) {
		f.send(NewRequest(SetLogBase, l, fd))
		m := f.receive(SetLogBase)
		if f.err != nil {
			return
		}
		m.CloseFDs()
		// QEMU does not look at the payload. rust-vmm takes a log, and no empty one.
		var got Log
		if err := got.Decode(m.Payload); err != nil || got.Size == 0 {
			f.fail(fmt.Errorf("the back-end refuses the log: %v %v", m, err))
		}
	})
}

// Mark makes the back-end mark what it writes, or ends that, while rings run.
func (f *Frontend) Mark(on bool) error {
	f.marking = on
	return f.play("mark", func(f *Frontend) {
		addresses := func() {
			for i := range f.cfg.Rings {
				f.addr(i)
			}
		}
		if !on && f.cfg.Style.addressesFirst {
			addresses()
			f.setFeatures()
			return
		}
		f.setFeatures()
		addresses()
	})
}

// logFeature is what marking adds to the features that are acknowledged.
func (f *Frontend) logFeature() virtio.Features {
	if f.marking {
		return virtio.LogAll & f.offered
	}
	return 0
}
