package netfwd

import (
	"slices"

	virtionet "vvufwd/virtio/net"
)

// queue names one queue pair of a link: which end's, and which of that end's.
type queue struct{ end, pair int }

// route says where a queue pair sends what it has.
type route struct{ from, to queue }

// lanePlan is what makes up a lane.
type lanePlan struct {
	routes []route // of the queue pairs that have work
	idle   []queue
	takers [2][]int // of each end, the queue pairs that take frames
}

func (p *lanePlan) equal(o *lanePlan) bool {
	return slices.Equal(p.routes, o.routes) && slices.Equal(p.idle, o.idle) &&
		slices.Equal(p.takers[0], o.takers[0]) && slices.Equal(p.takers[1], o.takers[1])
}

// planLanes assigns the queue pairs of a link's two ends to lanes, as many as the
// end has that takes frames at fewer of its queue pairs. So each lane has one of that
// end and one or more of the other, and no frame ever leaves its lane, which one loop
// serves alone. Every queue pair is in exactly one lane.
func planLanes(ends [2][]virtionet.State) []lanePlan {
	var active [2][]int
	for end, states := range ends {
		for i, s := range states {
			if s == virtionet.StateActive {
				active[end] = append(active[end], i)
			}
		}
	}
	n := max(1, min(len(active[0]), len(active[1])))
	lanes := make([]lanePlan, n)
	for end, states := range ends {
		var count, countActive int
		for i, s := range states {
			q := queue{end, i}
			k := &count // by which the queue pairs of a kind get their lanes
			if s == virtionet.StateActive {
				k = &countActive
			}
			l := &lanes[*k%n]
			if s == virtionet.StateActive {
				l.takers[end] = append(l.takers[end], i)
			}
			if s == virtionet.StateIdle {
				l.idle = append(l.idle, q)
			} else {
				l.routes = append(l.routes, route{q, queue{1 - end, destination(active[1-end], *k, n)}})
			}
			*k++
		}
	}
	return lanes
}

// destination is the active queue pair to which the k-th source of n lanes sends:
// one in its lane, which are every n-th, and the next sources of the lane send to the
// next ones. If none is active, the first one is told, and drops.
func destination(active []int, k, n int) int {
	if len(active) == 0 {
		return 0
	}
	lane := k % n
	here := (len(active) - lane + n - 1) / n
	return active[lane+k/n%here*n]
}
