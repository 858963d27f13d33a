package mmio

// part is a stretch of a Space that has no cheaper way to be cut.
type part struct {
	whole   Space
	base, n uint64
}

func (p *part) at(off, width uint64) uint64 {
	Inside(off, width, p.n)
	return p.base + off
}

func (p *part) Len() uint64                  { return p.n }
func (p *part) Load8(off uint64) uint8       { return p.whole.Load8(p.at(off, 1)) }
func (p *part) Load16(off uint64) uint16     { return p.whole.Load16(p.at(off, 2)) }
func (p *part) Load32(off uint64) uint32     { return p.whole.Load32(p.at(off, 4)) }
func (p *part) Load64(off uint64) uint64     { return p.whole.Load64(p.at(off, 8)) }
func (p *part) Store8(off uint64, v uint8)   { p.whole.Store8(p.at(off, 1), v) }
func (p *part) Store16(off uint64, v uint16) { p.whole.Store16(p.at(off, 2), v) }
func (p *part) Store32(off uint64, v uint32) { p.whole.Store32(p.at(off, 4), v) }
func (p *part) Store64(off uint64, v uint64) { p.whole.Store64(p.at(off, 8), v) }

// Cut asks the whole, which may know a better way, and keeps parts of parts flat.
func (p *part) Cut(off, n uint64) (Space, error) { return Sub(p.whole, p.base+off, n) }
