package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/control"
	"vvufwd/cmd/internal/logging"
	"vvufwd/cmd/vvufwd/capture"
	"vvufwd/cmd/vvufwd/metrics"
	"vvufwd/netfwd"
	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/nic"
	virtionet "vvufwd/virtio/net"
)

// collector answers what vvufwd is asked. It is safe for concurrent use.
type collector struct {
	f *forwarder
	o *options

	mu    sync.Mutex // held while statistics are collected
	last  netfwd.Stats
	begun time.Time // when those were begun to be collected
}

// collectPace is how often statistics are collected at most: loops are woken to answer, and who asks all the time must not keep them
// awake.
const collectPace = 100 * time.Millisecond

// stats are of a moment after the call. Who asks in the meantime, while others wait, is told the same.
func (c *collector) stats() netfwd.Stats {
	asked := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun.After(asked) {
		return c.last
	}
	if !c.begun.IsZero() {
		time.Sleep(collectPace - time.Since(c.begun))
	}
	c.begun = time.Now()
	c.last = c.f.collect()
	return c.last
}

// answer carries a request out.
func (c *collector) answer(r control.Request) (any, error) {
	switch r.Do {
	case control.Ports:
		return c.ports(), nil
	case control.Stats:
		return c.stats(), nil
	case control.Links:
		return c.links(), nil
	case control.Switch:
		return c.bridge()
	case control.Captures:
		if r.Writes() {
			if err := c.setCaptures(r); err != nil {
				return nil, err
			}
		}
		return c.captures(), nil
	case control.LogLevel:
		if r.Writes() {
			if err := c.setLevel(r.Set); err != nil {
				return nil, err
			}
		}
		return control.Level{Level: c.o.level.String()}, nil
	case control.Version:
		return cli.Version("vvufwd"), nil
	}
	return c.metrics(), nil
}

// ports tells of all ports, in the order of the command line.
func (c *collector) ports() (list []control.Port) {
	for i, p := range c.f.ports {
		spec := c.o.ports[i]
		one := control.Port{
			Name: p.Name(), Flag: spec.flag, Kind: p.kind(), With: "switch", Pairs: len(p.Queues), Used: p.used(),
			Isolated: spec.isolated, Uplink: spec.uplink(),
		}
		if spec.mac != nil {
			one.Address = spec.mac.String()
		}
		if !c.o.switched {
			one.With = c.f.ports[i^1].Name()
		}
		list = append(list, one)
	}
	return list
}

// kind is what is behind the port.
func (p *port) kind() string {
	switch {
	case p.guest != nil:
		return "guest"
	case p.netdev != nil:
		return "interface"
	}
	return "nic"
}

// used is how many queue pairs carry frames.
func (p *port) used() (n int) {
	if p.guest == nil {
		return len(p.Queues)
	}
	for _, g := range p.guest.Ports() {
		if g.State() != virtionet.StateIdle {
			n++
		}
	}
	return n
}

// links tells of all ports whether frames can pass.
func (c *collector) links() (list []control.Link) {
	devices := map[string]any{}
	for _, p := range c.stats().Ports {
		devices[p.Name] = p.Device
	}
	for _, p := range c.f.ports {
		l := control.Link{Name: p.Name(), Kind: p.kind()}
		switch {
		case p.guest != nil:
			if l.Up = p.used() > 0; !l.Up {
				l.Why = "no driver runs its rings"
			}
		case p.netdev != nil:
			s, _ := devices[p.Name()].(netdev.Stats)
			if l.Up, l.Returns = s.Link, &s.Returns; !l.Up {
				l.Why = "it is gone, down, or has no carrier"
			}
		case p.nic != nil:
			s, _ := devices[p.Name()].(nic.State)
			l.Up, l.Returns = p.nic.Up(), &s.Restarts
			switch {
			case !s.Working:
				l.Why = "there is none, or it has failed"
			case !l.Up:
				l.Why = "nothing is plugged in, or the other side is off"
			}
		}
		list = append(list, l)
	}
	return list
}

// bridge tells of the switch.
func (c *collector) bridge() (b control.Bridge, err error) {
	if !c.o.switched {
		return b, errors.New("there is no switch: vvufwd was started without --switch")
	}
	b.Ports = c.ports()
	for _, l := range c.stats().Loops {
		if s := l.Switch; s != nil {
			b.Learned, b.Static, b.Moves, b.Refused, b.Floods = s.Learned, s.Static, s.Moves, s.Refused, s.Floods
		}
	}
	return b, nil
}

// captures tells of all captures.
func (c *collector) captures() []control.Capture {
	list := []control.Capture{}
	for _, r := range c.f.recorders {
		s := r.Status()
		one := control.Capture{
			Port: s.Spec.Port, File: s.Spec.Path, On: s.On, Ended: s.Ended, SnapLen: s.Spec.SnapLen, Filter: s.Spec.Filter.String(), Frames: s.Frames, Missed: s.Missed,
		}
		if s.Spec.Live.Kind != 0 {
			one.Reader = &s.Reader
		}
		list = append(list, one)
	}
	return list
}

// setCaptures starts or stops the captures that a request means: of all, those that have not ended.
func (c *collector) setCaptures(r control.Request) error {
	var ports []string
	var ended error
	set := 0
	for i, rec := range c.f.recorders {
		s := rec.Status()
		ports = append(ports, s.Spec.Port)
		port := c.o.ports[c.o.captures[i].port]
		if r.Port != "" && !slices.Contains(capture.Names(port.String(), port.written()), r.Port) {
			continue
		}
		if s.Ended != "" {
			ended = fmt.Errorf("the capture of %s has ended: %s", s.Spec.Port, s.Ended)
			continue
		}
		set++
		if r.Set == control.On {
			rec.Start()
		} else {
			rec.Stop()
		}
	}
	switch {
	case len(ports) == 0:
		return errors.New("there is no capture: name its file when vvufwd starts, --capture PORT=FILE,off; none can be opened later")
	case set == 0 && ended != nil:
		return ended
	case set == 0:
		return fmt.Errorf("there is no capture of %q, but of %s", r.Port, strings.Join(ports, ", "))
	}
	return nil
}

// setLevel changes what is logged.
func (c *collector) setLevel(name string) error {
	var level zapcore.Level
	if err := logging.SetLevel(&level)(name); err != nil {
		return fmt.Errorf("there is no level %q: %w", name, err)
	}
	c.o.level.SetLevel(level)
	c.f.log.Info("the level of this log was changed", zap.Stringer("level", level))
	return nil
}

// metrics are all of it for Prometheus.
func (c *collector) metrics() string {
	return metrics.Text(metrics.State{
		Version: cli.Version("vvufwd"), Start: started, Stats: c.stats(), Ports: c.ports(), Links: c.links(), Captures: c.captures(),
	})
}
