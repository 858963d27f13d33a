package netfwd

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	virtionet "vvufwd/virtio/net"
)

// Link is two ends that are joined.
type Link [2]End

// Dealer deals the queue pairs of links out to loops, and does so anew whenever guests
// use more or fewer of them. A loop serves whole lanes, see planLanes. What is on its
// way when a queue pair goes to another loop goes with it.
type Dealer struct {
	controller
	links []*link

	mu    sync.Mutex // held while dealing, so that statistics have each queue pair once
	dealt [][]placed // by loop
}

// link is a Link with what stays with it.
type link struct {
	ends Link
	dirs [2][]*direction // one for each queue pair: it carries what that sends
}

// placed is a lane that a loop serves, with the plan that it was made from.
type placed struct {
	link *link
	plan lanePlan
	lane *lane
}

// NewDealer prepares loops, one for each configuration, and deals the links out to
// them. Warn is told of devices that do not spread frames; it must not block.
func NewDealer(links []Link, loops []Config, warn func(error)) (*Dealer, error) {
	d := &Dealer{controller: newController(warn)}
	for _, ends := range links {
		l := &link{ends: ends}
		for i, end := range ends {
			for _, p := range end.Queues {
				l.dirs[i] = append(l.dirs[i], &direction{src: p, several: len(end.Queues) > 1})
			}
			d.ends = append(d.ends, &spreadEnd{End: end, others: []End{ends[1-i]}})
		}
		d.links = append(d.links, l)
	}
	d.dealt = d.deal(len(loops))
	for i, cfg := range loops {
		for j := range d.dealt[i] {
			d.dealt[i][j].build()
		}
		loop, err := newLoop(groupsOf(d.dealt[i]), cfg)
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.loops = append(d.loops, loop)
	}
	return d, nil
}

// Run deals anew at each Shift until ctx is done.
func (d *Dealer) Run(ctx context.Context) {
	debug.SetPanicOnFault(true) // see Loop.serve
	d.follow(ctx, d.redeal)
}

// redeal moves lanes to where they belong by now. Loops let go of all that changes
// before any takes it over; lanes that stay as they are go on all the while.
func (d *Dealer) redeal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.deal(len(d.loops))
	for i, loop := range d.loops {
		if stay := keep(next[i], d.dealt[i]); len(stay) < len(d.dealt[i]) {
			loop.serve(groupsOf(stay))
		}
	}
	for i, loop := range d.loops {
		if isNew := func(p placed) bool { return p.lane == nil }; slices.ContainsFunc(next[i], isNew) {
			for j := range next[i] {
				next[i][j].build()
			}
			loop.serve(groupsOf(next[i]))
		}
	}
	d.dealt = next
}

// deal says which loop is to serve which lanes. Each link has a loop to begin with, so
// that what a guest does to its queue pairs moves no lanes of others.
func (d *Dealer) deal(loops int) [][]placed {
	dealt := make([][]placed, loops)
	for i, l := range d.links {
		for k, plan := range planLanes(l.states()) {
			loop := (i*loops/len(d.links) + k) % loops
			dealt[loop] = append(dealt[loop], placed{link: l, plan: plan})
		}
	}
	return dealt
}

func (l *link) states() (states [2][]virtionet.State) {
	for i, end := range l.ends {
		for _, p := range end.Queues {
			states[i] = append(states[i], p.State())
		}
	}
	return states
}

// keep gives lanes of next that are as they were their lane of old, and returns those.
func keep(next, old []placed) (stay []placed) {
	for i := range next {
		p := &next[i]
		for _, o := range old {
			if o.link == p.link && o.plan.equal(&p.plan) {
				p.lane = o.lane
				stay = append(stay, *p)
			}
		}
	}
	return stay
}

// build makes the lane, unless there is one. No loop serves its queue pairs meanwhile. It
// does not look at frames on their way: that is for a loop, which can bear with memory
// that has vanished.
func (p *placed) build() {
	if p.lane != nil {
		return
	}
	port := func(q queue) Port { return p.link.ends[q.end].Queues[q.pair] }
	p.lane = &lane{of: p.link}
	further := func(q queue) {
		if q.pair > 0 {
			p.lane.further = append(p.lane.further, port(q))
		}
	}
	steering := p.steering(port)
	for _, r := range p.plan.routes {
		d := p.link.dirs[r.from.end][r.from.pair]
		d.dst, d.steer, d.learn = port(r.to), nil, steering[r.from.end]
		d.learnAs = slices.Index(p.plan.takers[r.from.end], r.from.pair)
		if d.learnAs < 0 {
			d.learn = nil
		}
		if s := steering[r.to.end]; s != nil {
			d.steer = newSteered(s)
		}
		d.dealt = true
		if d.short = nil; d.learn == nil && d.steer == nil {
			d.short = newShortWay(d.src, d.dst)
		}
		p.lane.add(d, r.from.end)
		further(r.from)
	}
	for _, q := range p.plan.dormant {
		p.lane.dormant = append(p.lane.dormant, p.link.dirs[q.end][q.pair])
		further(q)
	}
}

// steering is needed for an end with several queue pairs in the lane.
func (p *placed) steering(port func(queue) Port) (s [2]*steering) {
	for end, takers := range p.plan.takers {
		if len(takers) < 2 {
			continue
		}
		s[end] = &steering{}
		for _, pair := range takers {
			s[end].queues = append(s[end].queues, port(queue{end, pair}))
		}
	}
	return s
}

func groupsOf(lanes []placed) []group {
	groups := make([]group, len(lanes))
	for i, p := range lanes {
		groups[i] = p.lane
	}
	return groups
}

// Collect is netfwd.Collect for the dealer's loops, with ports in the order of the
// links.
func (d *Dealer) Collect() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s Stats
	of := map[Port]PortStats{}
	for _, c := range collect(d.loops) {
		for _, p := range c.ports {
			of[p.port] = p.stats
		}
		s.Loops = append(s.Loops, c.loop)
	}
	s.Time = time.Now()
	for _, l := range d.links {
		for _, end := range l.ends {
			for _, p := range end.Queues {
				if stats, listed := of[p]; listed {
					s.Ports = append(s.Ports, stats)
				}
			}
		}
	}
	return s
}
