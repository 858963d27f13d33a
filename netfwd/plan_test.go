package netfwd

import (
	"fmt"
	"slices"
	"testing"

	virtionet "vvufwd/virtio/net"
)

// eachState calls f with every combination of states of n queue pairs.
func eachState(n int, f func([]virtionet.State)) {
	states := make([]virtionet.State, n)
	var set func(i int)
	set = func(i int) {
		if i == n {
			f(states)
			return
		}
		for s := virtionet.StateIdle; s <= virtionet.StateActive; s++ {
			states[i] = s
			set(i + 1)
		}
	}
	set(0)
}

// Whatever queue pairs are good for, each is in one lane, sends to one of the other
// end that takes frames and is in the same lane, and lanes are as many as can be.
func TestPlanLanes(t *testing.T) {
	for _, n := range [][2]int{{1, 1}, {1, 4}, {4, 1}, {4, 4}, {5, 3}} {
		eachState(n[0], func(a []virtionet.State) {
			eachState(n[1], func(b []virtionet.State) {
				ends := [2][]virtionet.State{a, b}
				if err := checkPlan(ends, planLanes(ends)); err != nil {
					t.Fatalf("%v: %v", ends, err)
				}
			})
		})
	}
}

func checkPlan(ends [2][]virtionet.State, lanes []lanePlan) error {
	var active [2]int
	for end, states := range ends {
		for _, s := range states {
			if s == virtionet.StateActive {
				active[end]++
			}
		}
	}
	if want := max(1, min(active[0], active[1])); len(lanes) != want {
		return fmt.Errorf("%d lanes, want %d", len(lanes), want)
	}
	in := map[queue]int{}
	takers := [2]int{}
	for i, l := range lanes {
		for _, r := range l.routes {
			in[r.from]++
		}
		for _, q := range l.idle {
			in[q]++
			if ends[q.end][q.pair] != virtionet.StateIdle {
				return fmt.Errorf("%v is idle", q)
			}
		}
		if len(l.takers[0]) > 1 && len(l.takers[1]) > 1 {
			return fmt.Errorf("lane %d has several queue pairs of both ends", i)
		}
		for end := range l.takers {
			takers[end] += len(l.takers[end])
			for _, pair := range l.takers[end] {
				if ends[end][pair] != virtionet.StateActive || !slices.ContainsFunc(l.routes, func(r route) bool { return r.from == queue{end, pair} }) {
					return fmt.Errorf("lane %d has the taker %v", i, queue{end, pair})
				}
			}
		}
		load := map[queue]int{}
		for _, r := range l.routes {
			if ends[r.from.end][r.from.pair] == virtionet.StateIdle || r.to.end == r.from.end {
				return fmt.Errorf("lane %d has the route %v", i, r)
			}
			if active[r.to.end] == 0 {
				if r.to.pair != 0 {
					return fmt.Errorf("no one takes frames, and the route is %v", r)
				}
				continue
			}
			if ends[r.to.end][r.to.pair] != virtionet.StateActive {
				return fmt.Errorf("%v goes where no one takes frames", r)
			}
			here := false
			for _, other := range l.routes {
				here = here || other.from == r.to
			}
			if !here {
				return fmt.Errorf("%v leaves its lane", r)
			}
			if ends[r.from.end][r.from.pair] == virtionet.StateActive {
				load[r.to]++
			}
		}
		for to, n := range load {
			most := (active[1-to.end] + active[to.end] - 1) / active[to.end]
			if n > most {
				return fmt.Errorf("%d queue pairs send to %v, want at most %d", n, to, most)
			}
		}
	}
	if takers != active {
		return fmt.Errorf("%v queue pairs take frames, want %v", takers, active)
	}
	for end, states := range ends {
		for i := range states {
			if in[queue{end, i}] != 1 {
				return fmt.Errorf("%v is in %d lanes", queue{end, i}, in[queue{end, i}])
			}
		}
	}
	return nil
}
