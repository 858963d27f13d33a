package netfwd

// roundRobin is whose turn it was among some: queue pairs, ports or lanes, of which one after
// the other is asked until one has something.
type roundRobin int

// next is whose turn it is among n.
func (r *roundRobin) next(n int) int {
	if *r++; int(*r) >= n {
		*r = 0
	}
	return int(*r)
}
