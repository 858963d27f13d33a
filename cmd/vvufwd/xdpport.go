package main

import (
	"os"

	"go.uber.org/zap"

	"vvufwd/cmd/vvufwd/reopen"
	"vvufwd/netfwd/netdev/xdp"
)

// xdpOptions are what is asked of an interface's sockets.
func (p *portSpec) xdpOptions(queues int) xdp.Options {
	return xdp.Options{Mode: p.mode, Driver: p.best, Queues: queues}
}

func openXDP(p *portSpec, name string, queues int, stopped func() bool) ([]*os.File, error) {
	lockMemory() // frames are in memory that is
	options := p.xdpOptions(queues)
	options.Stopped = stopped
	return xdp.Open(name, options)
}

// reopen opens a port's interface again when it is back: here, as long as all privileges are kept.
func (o *options) reopen(p *portSpec) xdp.Reopen {
	if o.privileged {
		return func() ([]*os.File, error) { return xdp.Open(p.ifname, p.xdpOptions(o.queues)) }
	}
	return func() ([]*os.File, error) { return o.reopener.Open(p.String()) }
}

// xdpPorts are the ports with such sockets.
func (o *options) xdpPorts() (names []string) {
	for i := range o.ports {
		if p := &o.ports[i]; p.kind == "xdp" {
			names = append(names, p.String())
		}
	}
	return names
}

// startReopener starts the process that opens their interfaces again.
func (o *options) startReopener(log *zap.Logger) {
	var ports []reopen.Port
	for i := range o.ports {
		if p := &o.ports[i]; p.kind == "xdp" {
			ports = append(ports, reopen.Port{Name: p.String(), Interface: p.ifname, Options: p.xdpOptions(o.queues)})
		}
	}
	if ports == nil {
		return
	}
	var err error
	if o.reopener, err = reopen.Start(ports, true); err != nil {
		log.Warn("an interface that vanishes will not be used again when it returns", zap.Error(err))
	}
}
