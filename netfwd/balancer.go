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

// Balancer assigns the queue pairs of links to loops, and does so anew whenever guests
// use more or fewer of them. A loop serves whole lanes, see planLanes. What is on its
// way when a queue pair goes to another loop goes with it.
type Balancer struct {
	controller
	links []*link

	mu       sync.Mutex     // held while rebalancing, so that statistics have each queue pair once
	assigned [][]assignment // by loop
}

// link is a Link with what stays with it.
type link struct {
	ends Link
	dirs [2][]*direction // one for each queue pair: it carries what that sends
}

// assignment is a lane that a loop serves, with the plan that it was made from.
type assignment struct {
	link *link
	plan lanePlan
	lane *lane
}

// NewBalancer prepares loops, one for each configuration, and assigns the links to
// them. Warn is told of devices that do not spread frames; it must not block.
func NewBalancer(links []Link, loops []Config, warn func(error)) (*Balancer, error) {
	b := &Balancer{controller: newController(warn)}
	for _, ends := range links {
		l := newLink(ends)
		for i, end := range ends {
			b.ends = append(b.ends, &spreadEnd{End: end, others: [][]*member{l.members(1 - i)}})
		}
		b.links = append(b.links, l)
	}
	b.assigned = b.assign(len(loops))
	for i, cfg := range loops {
		for j := range b.assigned[i] {
			b.assigned[i][j].build()
		}
		loop, err := newLoop(groupsOf(b.assigned[i]), cfg)
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.loops = append(b.loops, loop)
	}
	return b, nil
}

func newLink(ends Link) *link {
	l := &link{ends: ends}
	for i, end := range ends {
		for _, p := range newMembers(end) {
			l.dirs[i] = append(l.dirs[i], newDirection(p))
		}
	}
	return l
}

// members are the queue pairs of an end.
func (l *link) members(end int) (members []*member) {
	for _, d := range l.dirs[end] {
		members = append(members, d.src)
	}
	return members
}

// Run rebalances at each change of state until ctx is done.
func (b *Balancer) Run(ctx context.Context) {
	debug.SetPanicOnFault(true) // see Loop.serve
	b.follow(ctx, b.rebalance)
}

// rebalance moves lanes to where they belong by now. Loops give up all that changes
// before any takes it over; lanes that stay as they are go on all the while.
func (b *Balancer) rebalance() {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.assign(len(b.loops))
	for i, loop := range b.loops {
		if stay := keep(next[i], b.assigned[i]); len(stay) < len(b.assigned[i]) {
			loop.serve(groupsOf(stay))
		}
	}
	for i, loop := range b.loops {
		if isNew := func(a assignment) bool { return a.lane == nil }; slices.ContainsFunc(next[i], isNew) {
			for j := range next[i] {
				next[i][j].build()
			}
			loop.serve(groupsOf(next[i]))
		}
	}
	b.assigned = next
}

// assign says which loop is to serve which lanes. Each link has a loop to begin with, so
// that what a guest does to its queue pairs moves no lanes of others.
func (b *Balancer) assign(loops int) [][]assignment {
	assigned := make([][]assignment, loops)
	for i, l := range b.links {
		for k, plan := range planLanes(l.states()) {
			loop := (i*loops/len(b.links) + k) % loops
			assigned[loop] = append(assigned[loop], assignment{link: l, plan: plan})
		}
	}
	return assigned
}

func (l *link) states() (states [2][]virtionet.State) {
	for i, dirs := range l.dirs {
		for _, d := range dirs {
			states[i] = append(states[i], d.src.State())
		}
	}
	return states
}

// keep gives lanes of next that are as they were their lane of old, and returns those.
func keep(next, old []assignment) (stay []assignment) {
	for i := range next {
		a := &next[i]
		for _, o := range old {
			if o.link == a.link && o.plan.equal(&a.plan) {
				a.lane = o.lane
				stay = append(stay, *a)
			}
		}
	}
	return stay
}

// build makes the lane, unless there is one. No loop serves its queue pairs meanwhile. It
// does not look at frames on their way: that is for a loop, which survives memory
// that has vanished.
func (a *assignment) build() {
	if a.lane != nil {
		return
	}
	dir := func(q queue) *direction { return a.link.dirs[q.end][q.pair] }
	a.lane = &lane{link: a.link}
	note := func(q queue) {
		if q.pair > 0 {
			a.lane.secondary = append(a.lane.secondary, dir(q).src.Port)
		}
	}
	steering := a.steering(dir)
	for _, r := range a.plan.routes {
		d := dir(r.from)
		d.dst, d.steer, d.learn, d.stale = dir(r.to).src, nil, nil, true
		if i := slices.Index(a.plan.takers[r.from.end], r.from.pair); i >= 0 && steering[r.from.end] != nil {
			d.learn = &learner{steering[r.from.end], i}
		}
		if s := steering[r.to.end]; s != nil {
			d.steer = newSteered(s)
		}
		a.lane.add(d, r.from.end)
		note(r.from)
	}
	for _, q := range a.plan.idle {
		a.lane.addIdle(dir(q))
		note(q)
	}
}

// steering is needed for an end with several queue pairs in the lane.
func (a *assignment) steering(dir func(queue) *direction) (s [2]*steering) {
	for end, takers := range a.plan.takers {
		if len(takers) < 2 {
			continue
		}
		s[end] = &steering{}
		for _, pair := range takers {
			s[end].queues = append(s[end].queues, dir(queue{end, pair}).src)
		}
	}
	return s
}

func groupsOf(lanes []assignment) []group {
	groups := make([]group, len(lanes))
	for i, p := range lanes {
		groups[i] = p.lane
	}
	return groups
}

// Collect is netfwd.Collect for the balancer's loops, with ports in the order of the
// links.
func (b *Balancer) Collect() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	var s Stats
	of := map[Port]PortStats{}
	for _, c := range collect(b.loops) {
		for _, p := range c.ports {
			of[p.port] = p.stats
		}
		s.Loops = append(s.Loops, c.loop)
	}
	s.Time = time.Now()
	for _, l := range b.links {
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
