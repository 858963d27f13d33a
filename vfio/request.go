package vfio

import (
	"context"
	"errors"
	"fmt"

	"vvufwd/vfio/await"
	"vvufwd/vfio/uapi"
)

// ErrRequested says that the kernel wants a device back: it is being unplugged, or someone
// unbinds or removes it in sysfs, who waits until it is released.
var ErrRequested = errors.New("the kernel asks for the device back")

// enableRequests lets the kernel ask for the device back, if it can (Linux 4.0 and later).
func (d *Device) enableRequests(kinds uint32) error {
	if kinds <= uapi.PCIReqIRQ {
		return nil
	}
	info, err := d.container.kernel.IRQInfo(d.fd, uapi.PCIReqIRQ)
	if err != nil || info.Flags&uapi.IRQEventfd == 0 || info.Count == 0 {
		return nil // what emulates a kernel may not have it
	}
	fds, err := newEventfds(1)
	if err != nil {
		return err
	}
	if _, err := d.container.kernel.SetIRQEventfds(d.fd, uapi.PCIReqIRQ, fds); err != nil {
		return errors.Join(fmt.Errorf("let the kernel ask for the device back: %w", err), closeEventfds(fds))
	}
	d.request = fds[0]
	return nil
}

// AwaitRequest waits until the kernel wants the device back and returns ErrRequested, or
// until ctx is done and returns its cause. Whoever asked is blocked until Release. It must
// have returned before Release or Close is called.
func (d *Device) AwaitRequest(ctx context.Context) error {
	if d.request < 0 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for ctx.Err() == nil {
		if await.Readable(ctx, await.Forever, d.request) {
			return ErrRequested
		}
	}
	return context.Cause(ctx)
}

// Release closes the device, and lets its group go if no other device of it is open: both
// have to be closed for the kernel to take a device away. With type1, the last group takes
// all mappings with it; Adopt makes them again. Nothing may reach the device's DMA memory any
// more, nor use what came from the device.
func (d *Device) Release() error {
	return errors.Join(d.Close(), d.container.leave(d.space, d.files))
}
