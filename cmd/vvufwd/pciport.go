package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"vvufwd/cmd/vvufwd/keeper"
	"vvufwd/vfio"
	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
	virtiopci "vvufwd/virtio/pci"
	"vvufwd/vvu"
)

// surpriseTime is how long the kernel may take to ask for a device that was pulled out.
const surpriseTime = 2 * time.Second

// occupant is the driver of a PCI function that the machine can take away and give back. Its
// ports stay what they are all the while, as those who forward know them.
type occupant interface {
	// run looks after the device until ctx is done or the device is beyond help.
	run(ctx context.Context) error
	// detach stops the device, after run has returned. Afterwards nothing of it is
	// touched any more, nor its memory. Without a device it does nothing.
	detach() error
	// attach starts another device in place of one that was detached.
	attach(dev *vfio.Device) error
	close() error
}

// returner gets a device back, as keeper.Keeper does.
type returner interface {
	Await(context.Context, pci.Address) (vfio.Files, error)
	Again(context.Context, pci.Address) (vfio.Files, error)
}

// pciPort is what a port on PCI has besides its driver.
type pciPort struct {
	occupant
	spec      portSpec
	dev       *vfio.Device // nil while the machine has taken it away
	container *vfio.Container
	pool      *dma.Pool // all its DMA memory
	keeper    returner
	log       *zap.Logger
	owned     bool
	mode      vfio.Mode
	away      bool // the device has been taken away, if only for a while
}

// control runs the port until ctx is done. When the kernel asks for the device back the port
// gives it up, and takes it again when it is back.
func (p *pciPort) control(ctx context.Context) error {
	for p.dev != nil { // nil: ctx was done before it was back
		err := p.serve(ctx)
		switch {
		case errors.Is(err, vfio.ErrRequested):
			p.giveUp(ctx)
			continue
		case errors.Is(err, virtiopci.ErrAbsent):
			// A device whose program has ended never comes back to this machine: its
			// monitor has lost the socket, and has no way to connect again.
			return &goneError{p.spec.addr.String(), p.owned}
		}
		return err
	}
	return nil
}

// serve runs the driver until ctx is done, it fails, or the kernel asks for the device back.
func (p *pciPort) serve(ctx context.Context) error {
	own, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { cancel(p.dev.AwaitRequest(own)) })
	err := p.run(own)
	if errors.Is(err, virtiopci.ErrAbsent) && ctx.Err() == nil {
		// One that was pulled out without a word is absent a moment before the kernel asks.
		moment, end := context.WithTimeout(own, surpriseTime)
		<-moment.Done()
		end()
	}
	cancel(nil)
	watch.Wait()
	if cause := context.Cause(own); ctx.Err() == nil && errors.Is(cause, vfio.ErrRequested) {
		return cause
	}
	return err
}

// giveUp gives the device up and waits until the port has one again, or ctx is done.
func (p *pciPort) giveUp(ctx context.Context) {
	p.log.Warn("the kernel asks for the device back: it is released, and the port is idle until it returns")
	err := p.detach()
	if released := p.release(); released != nil || err != nil {
		p.log.Warn("releasing the device", zap.Error(errors.Join(err, released)))
	}
	p.takeBack(ctx, p.take)
}

// takeBack waits until take has succeeded with the files of a device that is back, or ctx is
// done. A take that fails has closed them.
func (p *pciPort) takeBack(ctx context.Context, take func(vfio.Files) error) {
	get := p.keeper.Await
	for last := ""; ; {
		files, err := get(ctx, p.spec.addr)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, keeper.ErrNoKeeper) {
			p.log.Error("the port stays idle", zap.Error(err))
			<-ctx.Done()
			return
		}
		if get = p.keeper.Await; err == nil {
			if err = take(files); err == nil {
				p.log.Info("the device is back")
				return
			}
			get = p.keeper.Again // what failed may pass while the device stays where it is
		}
		if text := err.Error(); text != last { // either way it is a try every few seconds
			last = text
			p.log.Error("the device is back, but cannot be used; trying again", zap.Error(err))
		}
	}
}

// release closes the device.
func (p *pciPort) release() error {
	dev := p.dev
	p.dev, p.away = nil, true
	return dev.Release()
}

// take starts the device that is back.
func (p *pciPort) take(files vfio.Files) (err error) {
	p.pool.Rewind()
	if files.Mode != p.mode { // another would not reach the port's memory
		return errors.Join(&pci.DeviceError{
			Device: p.spec.addr.String(), Problem: fmt.Sprintf("is back as %v, and was %v", files.Mode, p.mode),
			Remedy: "plug it in as it was, or start vvufwd again",
		}, files.Close())
	}
	if p.dev, err = p.container.Adopt(p.spec.addr, files); err != nil {
		return err
	}
	if err = p.attach(p.dev); err != nil {
		return errors.Join(err, p.release())
	}
	return nil
}

func (p *pciPort) close() error {
	err := p.occupant.close()
	if p.dev != nil {
		err = errors.Join(err, p.dev.Close())
	}
	return err
}

// vvuOccupant drives a virtio-vhost-user device.
type vvuOccupant struct {
	*vvu.Endpoint
	name string
	pool *dma.Pool
	log  *zap.Logger
}

func (v *vvuOccupant) run(ctx context.Context) error { return v.Run(ctx) }
func (v *vvuOccupant) detach() error                 { return v.Detach() }
func (v *vvuOccupant) close() error                  { return v.Close() }

func (v *vvuOccupant) attach(dev *vfio.Device) error {
	d, err := vvu.Open(v.name, dev, v.pool, len(v.Ports()))
	if err != nil {
		return err
	}
	d.MapMemory(nil, v.log) // no /dev/mem is left by now
	if err := v.Attach(d); err != nil {
		return errors.Join(err, d.Close())
	}
	return nil
}
