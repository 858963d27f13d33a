package netfwd

import "slices"

// newPair joins two ports in a lane that is served whatever their state.
func newPair(a, b Port) *lane {
	dirs := []*direction{newDirection(newMember(a)), newDirection(newMember(b))}
	l := &lane{}
	for end, d := range dirs {
		d.dst = dirs[1-end].src
		l.add(d, end)
	}
	return l
}

// joinLoop prepares a loop for pairs of ports: each port with an even index is joined with the
// one after it.
func joinLoop(ports []Port, cfg Config) (*Loop, error) {
	var groups []group
	for i := 0; i+1 < len(ports); i += 2 {
		groups = append(groups, newPair(ports[i], ports[i+1]))
	}
	return newLoop(groups, cfg)
}

// memberOf is what a group has of a port, by one of its names here.
func memberOf(g group, names ...Port) *member {
	for _, m := range g.members() {
		if slices.Contains(names, m.Port) {
			return m
		}
	}
	panic("no such port")
}
