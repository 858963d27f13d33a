package traffic

import (
	"testing"

	"vvufwd/cmd/internal/measure"
	"vvufwd/cmd/vvugen/port"
)

// BenchmarkWrite is ns per frame for writing it, memory hot.
func BenchmarkWrite(b *testing.B) {
	for _, bc := range []struct {
		name string
		size int
		full bool
	}{{"64", 64, false}, {"1518full", 1518, true}} {
		b.Run(bc.name, func(b *testing.B) {
			frame := make([]byte, bc.size)
			pat := newPattern(bc.size)
			h := newHeader(stream{0, 0, 1}, bc.size)
			for i := range uint64(b.N) {
				phase := int(i % phases)
				if bc.full {
					*(*header)(frame) = h
					copy(frame[offPayload:], pat.window(phase))
				}
				(*header)(frame).seal(h.tag(), i, 1, check(i, 1, bc.size, content(3, pat.sums[phase])))
			}
		})
	}
}

// BenchmarkExamine is ns per frame for checking it, memory hot.
func BenchmarkExamine(b *testing.B) {
	for _, size := range []int{64, 1518} {
		b.Run(map[int]string{64: "64", 1518: "1518"}[size], func(b *testing.B) {
			plan := Plan{Size: size, Verify: true, Checksum: true}
			pat := newPattern(size)
			s := newSink(new(port.Rx), stream{0, 0, 1}, &plan, true, newClock())
			frames := make([]port.Frame, phases)
			for i := range frames {
				frame := make([]byte, size)
				h := (*header)(frame)
				*h = newHeader(stream{0, 0, 1}, size)
				copy(frame[offPayload:], pat.window(i))
				h.seal(h.tag(), uint64(i), 0, check(uint64(i), 0, size, content(0, pat.sums[i])))
				frames[i] = port.Frame{Head: frame, Len: size}
			}
			for i := range b.N {
				if i%phases == 0 {
					s.order = measure.Sequence{}
				}
				s.examine(&frames[i%phases], 0, phases)
			}
			if s.faults.Any() {
				b.Fatalf("faults %+v", s.faults)
			}
		})
	}
}
