package vvutest

import (
	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

// Disturbance is something that a front-end says while its guest goes on sending and
// receiving, and of which the guest is not to notice anything.
type Disturbance struct {
	Name  string
	Needs vhostuser.ProtocolFeatures
	Do    func(*App) error
}

// Disturbances are all that are known.
func Disturbances() []Disturbance {
	return []Disturbance{
		{"SET_VRING_CALL", 0, (*App).renewCalls},
		{"SET_MEM_TABLE", 0, func(a *App) error { return a.Share(a.cfg.Regions, false) }},
		{"ADD_MEM_REG and REM_MEM_REG", vhostuser.ProtoConfigureMemSlots, (*App).plug},
		{"SET_FEATURES", 0, (*App).changeFeatures},
		{"GET_VRING_BASE and a new start", 0, (*App).pause},
		{"SET_VRING_ENABLE 0 and 1", 0, (*App).blink},
	}
}

// Disturb does it and waits until the back-end has.
func (a *App) Disturb(d Disturbance) error {
	if err := d.Do(a); err != nil {
		return err
	}
	return a.Settle()
}

// renewCalls gives the rings their calls again, as QEMU does when its guest has masked an
// interrupt.
func (a *App) renewCalls() error {
	for ring, q := range a.queues {
		if err := a.tell(vhostuser.NewRequest(vhostuser.SetVringCall, vhostuser.VringFD{Index: uint8(ring)}, q.call)); err != nil {
			return err
		}
	}
	return nil
}

// plug plugs a piece of memory in, and out again.
func (a *App) plug() error {
	const at = 1 << 40
	r := vhostuser.SingleRegion{GPA: at, Size: 1 << 20, UVA: at}
	if err := a.tell(vhostuser.NewRequest(vhostuser.AddMemReg, r, a.ram.FD)); err != nil {
		return err
	}
	if err := a.Settle(); err != nil {
		return err
	}
	return a.tell(vhostuser.NewRequest(vhostuser.RemMemReg, r))
}

// changeFeatures acknowledges a feature that makes no difference here, and takes it back.
func (a *App) changeFeatures() error {
	features := a.Front.Features() | virtio.ProtocolFeatures
	return a.tell(
		vhostuser.NewRequest(vhostuser.SetFeatures, vhostuser.U64(features|virtio.NetCsum)),
		vhostuser.NewRequest(vhostuser.SetFeatures, vhostuser.U64(features)),
	)
}

// pause stops all rings and starts them where they stood.
func (a *App) pause() error {
	bases := make([]uint32, len(a.queues))
	for ring := range a.queues {
		var err error
		if bases[ring], err = a.StopRing(ring); err != nil {
			return err
		}
	}
	for ring, base := range bases {
		if err := a.StartRing(ring, base); err != nil {
			return err
		}
	}
	return nil
}

// blink disables all rings for a moment.
func (a *App) blink() error {
	for _, on := range []bool{false, true} {
		for ring := range a.queues {
			if err := a.Enable(ring, on); err != nil {
				return err
			}
		}
		if err := a.Settle(); err != nil {
			return err
		}
	}
	return nil
}
