package plan

import (
	"regexp"
	"slices"
	"strconv"
)

// throughKinds are the kinds of interfaces that are measured, as vvufwd's --port names them.
var throughKinds = []string{"packet", "xdp", "tap"}

// Default are all cases. One that depends on another comes after it.
func Default() (cases []Case) {
	for _, payload := range []struct {
		id   string
		size int
		full bool
	}{{"64", 64, false}, {"256", 256, false}, {"1518", 1518, false}, {"1518-full", 1518, true}} {
		for _, both := range []bool{false, true} {
			cases = append(cases, Case{ID: payload.id + way(both), Size: payload.size, Full: payload.full, Both: both, Pairs: 1})
		}
	}
	for _, pairs := range []struct {
		id string
		n  int
	}{{"-4-pairs", 4}, {"-16-pairs", 16}} {
		cases = append(cases, Case{ID: "64" + way(true) + pairs.id, Size: 64, Both: true, Pairs: pairs.n})
	}
	for _, kind := range throughKinds {
		for _, size := range []int{64, 1518} {
			for _, both := range []bool{false, true} {
				cases = append(cases, Case{ID: kind + "-" + strconv.Itoa(size) + way(both), Size: size, Both: both, Pairs: 1, Through: kind})
			}
		}
	}
	return append(cases,
		Case{ID: "64" + way(true) + "-packed", Size: 64, Both: true, Pairs: 1, Packed: true},
		Case{ID: "1518" + way(true) + "-packed", Size: 1518, Both: true, Pairs: 1, Packed: true},
		Case{ID: "64" + way(true) + "-switch", Size: 64, Both: true, Pairs: 1, Switch: true},
		Case{ID: "64" + way(true) + "-virtio-user", Size: 64, Both: true, Pairs: 1, Opinion: true},
		Case{ID: "latency-10k", Size: 64, Pairs: 1, Rate: 10e3, Latency: true},
		Case{ID: "latency-half", Size: 64, Pairs: 1, HalfOf: "64" + way(false), Latency: true},
	)
}

func way(both bool) string {
	if both {
		return "-both"
	}
	return "-one"
}

// Select returns the cases whose ID matches, and those that they depend on, in
// the order of all.
func Select(all []Case, only *regexp.Regexp) (selected []Case) {
	needed := map[string]bool{}
	for _, c := range slices.Backward(all) {
		if only.MatchString(c.ID) || needed[c.ID] {
			needed[c.HalfOf] = true
			selected = append(selected, c)
		}
	}
	slices.Reverse(selected)
	return selected
}

// Stages splits cases up such that none depends on another of its own stage or of
// a later one: in the rounds of a stage, its cases take turns.
func Stages(cases []Case) (stages [][]Case) {
	var independent, dependent []Case
	for _, c := range cases {
		if c.HalfOf == "" {
			independent = append(independent, c)
		} else {
			dependent = append(dependent, c)
		}
	}
	for _, stage := range [][]Case{independent, dependent} {
		if len(stage) > 0 {
			stages = append(stages, stage)
		}
	}
	return stages
}
