package matrix

// All are all combinations of an app VM's choices with two kernels, and some with the newest. Those of the driver VM's side alternate
// over them, such that each pair of choices occurs. Pairs follow with a shadow region. Those with the same driver VM stand together.
func All() []Combination {
	var narrow, wide []Combination
	for i := range 1 << 5 {
		c := Combination{Packed: i&1 != 0, Mergeable: i&2 != 0, Offloads: i&4 != 0, Many: i&8 != 0, Newer: i&16 != 0}
		// The parity of some of the bits is independent of each of them.
		c.Wide = (i^i>>1^i>>3)&1 != 0
		if c.Wide {
			c.Jumbo = (i>>1^i>>2^i>>4)&1 != 0
			wide = append(wide, c)
		} else {
			narrow = append(narrow, c)
		}
	}
	narrow = append(narrow,
		Combination{Newest: true, Mergeable: true, Offloads: true},
		Combination{Newest: true, Packed: true, Many: true})
	wide = append(wide,
		Combination{Newest: true, Wide: true, Jumbo: true, Mergeable: true, Many: true},
		Combination{Newest: true, Wide: true, Packed: true, Mergeable: true, Offloads: true, Many: true})
	for _, c := range Pairs() { // all of them, with a shadow region
		c.Shadow = true
		if c.Wide {
			wide = append(wide, c)
		} else {
			narrow = append(narrow, c)
		}
	}
	return append(narrow, wide...)
}

// Pairs are a few combinations in which each pair of choices occurs, but that a shadow region goes with a Wide driver VM only: each kind
// of driver VM has to be booted. Those with the same driver VM stand together.
func Pairs() []Combination {
	return []Combination{
		{},
		{Packed: true, Mergeable: true, Offloads: true, Many: true},
		{Mergeable: true, Many: true, Newer: true},
		{Packed: true, Offloads: true, Newer: true},
		{Offloads: true, Many: true, Wide: true, Jumbo: true},
		{Packed: true, Mergeable: true, Wide: true, Newer: true, Jumbo: true},
		{Packed: true, Many: true, Wide: true, Shadow: true, Newer: true},
		{Mergeable: true, Offloads: true, Wide: true, Shadow: true, Jumbo: true},
	}
}
