package virtionic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/await"
	"vvufwd/virtio"
	virtiopci "vvufwd/virtio/pci"
)

// statusLinkUp is a bit of the device's status (5.1.4).
const statusLinkUp = 1 << 0

// Link reads whether the NIC has a link: always, if it cannot tell.
func (p *Device) Link() (up bool, err error) {
	if !p.Features.Has(virtio.NetStatus) {
		return true, nil
	}
	status, err := p.transport.ReadConfig16(cfgStatus)
	return status&statusLinkUp != 0, err
}

// What a device is found to be when it does not work any more.
var (
	ErrNeedsReset = errors.New("the device has given up (DEVICE_NEEDS_RESET)")
	ErrWasReset   = errors.New("someone else has reset the device")
)

// Watch follows the link until ctx is done; changed is called after each change since Open.
// It returns early with ErrNeedsReset or ErrWasReset, and with an error that wraps
// virtiopci.ErrAbsent when the device is gone.
func (p *Device) Watch(ctx context.Context, changed func(up bool)) error {
	last := p.linkAtStart
	vector := p.pci.Vector(vectorConfig)
	patience := await.Patience{First: 250 * time.Millisecond, Most: 2 * time.Second}
	var buf [8]byte
	for ctx.Err() == nil {
		// The interrupt brings news at once; patience has an end for news whose interrupt was
		// lost, and for a device that is gone.
		if patience.Readable(ctx, vector) {
			unix.Read(vector, buf[:])
		}
		switch status := p.transport.Status(); {
		case p.transport.Absent():
			return fmt.Errorf("%s: %w", p.pci.Address(), virtiopci.ErrAbsent)
		case status&virtio.StatusNeedsReset != 0:
			return fmt.Errorf("%s: %w", p.name, ErrNeedsReset)
		case status&virtio.StatusDriverOK == 0:
			return fmt.Errorf("%s: %w", p.name, ErrWasReset)
		}
		up, err := p.Link()
		if err != nil {
			return err
		}
		if up != last {
			last = up
			changed(up)
		}
	}
	return nil
}
