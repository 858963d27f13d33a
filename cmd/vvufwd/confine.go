package main

import (
	"context"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/cmd/internal/confine"
)

// confinement gives privileges up, once, when all ports are open and before the first
// of them is served.
type confinement struct {
	apply  func() error
	once   sync.Once
	failed bool
}

type confinementKey struct{}

// withConfinement makes those who serve a port with the resulting context confine the
// process first.
func withConfinement(ctx context.Context, o *options, log *zap.Logger) context.Context {
	return context.WithValue(ctx, confinementKey{}, &confinement{apply: func() error { return o.policy().Finish(log) }})
}

// confined puts confinement, if the context brings it, before a port's control. Should
// it fail, the first to try returns the error and no port is served.
func confined(control func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if c, ok := ctx.Value(confinementKey{}).(*confinement); ok {
			var err error
			c.once.Do(func() {
				err = c.apply()
				c.failed = err != nil
			})
			if c.failed {
				return err
			}
		}
		return control(ctx)
	}
}

// policy is what forwarding between the ports of a command line needs, and taking them
// down at the end. It holds for the driver VM as for a host: there, too, no one else
// has to be able to do more, and the machine is powered off by another process.
//
// DMA memory needs no privilege any more: all of it is mapped and pinned when the
// ports are opened.
func (o *options) policy() (p confine.Policy) {
	p.Read = []string{"/proc/sys/vm/max_map_count"} // see checkMemory
	for _, port := range o.ports {
		switch {
		case port.onPCI():
			p.VFIO = true // with --bind too: functions are bound before, and the keeper gives them back
		case port.onInterface():
			kind, _ := netdevs.named(port.kind)
			kind.need(&p)
		case port.client:
			p.AsyncIO = true // by which package socket rings eventfds
			p.Connect = append(p.Connect, port.path)
		default:
			p.AsyncIO = true
			p.Listen = append(p.Listen, port.path)
		}
	}
	for _, c := range o.captures {
		(&place{Address: c.Live}).need(&p)
	}
	o.asked.control.need(&p)
	o.asked.scraped.need(&p)
	return p
}

// lockMemory lets the process lock as much memory as it may, for DMA, while it has the
// capability to raise the limit: that to lock memory beyond it is given up before.
func lockMemory() {
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}) == nil {
		return
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit) // to map memory will say what is wrong
	}
}
