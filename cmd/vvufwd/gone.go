package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// goneError says that a device is gone for good: exit code 4.
type goneError struct {
	device string // its PCI address
	owned  bool   // the machine is ours alone
}

func (e *goneError) Error() string {
	remedy := "start that program again, and this virtual machine after it"
	if e.owned {
		remedy = "this virtual machine powers off; start that program again, and the machine after it"
	}
	return fmt.Sprintf("%s: the device is gone, all its registers read as ones, so the program that provides it (vvudev?) has ended: %s", e.device, remedy)
}

// party is ports that end together: a pair, or one port of a switch.
type party struct {
	ports  []*port
	cancel context.CancelFunc
}

// parties are those of which one can end and leave the others something to do, as long as
// there are at least so many.
func (f *forwarder) parties(o *options) (all []*party, least int) {
	size, least := 2, 1
	if o.switched {
		size, least = 1, 2
	}
	for i := 0; i+size <= len(f.ports); i += size {
		all = append(all, &party{ports: f.ports[i : i+size]})
	}
	return all, least
}

// runControls runs the controls of all ports until ctx is done, and reports their failures.
// A device that is gone ends its pair, or its port of a switch, and is a failure when no
// others are left, or when the machine is ours: then it is for the host to start both again.
func (f *forwarder) runControls(ctx context.Context, o *options, controls *sync.WaitGroup, failed func(error)) {
	all, least := f.parties(o)
	var mu sync.Mutex
	left := len(all)
	for _, p := range all {
		var own context.Context
		own, p.cancel = context.WithCancel(ctx)
		var once sync.Once // both devices of a pair can be gone
		end := func(gone *goneError) {
			p.cancel()
			mu.Lock()
			left--
			remain := left
			mu.Unlock()
			if o.owned || remain < least {
				failed(gone)
				return
			}
			f.log.Error("a device is gone; its port, and the other of its pair if it is one, has ended, and the others go on", zap.Error(gone))
		}
		for _, port := range p.ports {
			controls.Go(func() {
				err := port.control(own)
				var gone *goneError
				if errors.As(err, &gone) {
					once.Do(func() { end(gone) })
					return
				}
				failed(err)
			})
		}
	}
}
