package measure

// window is how far behind the newest frame a late one is told from a
// duplicate. It is a power of two.
const window = 1 << 16

// Sequence judges the order of a stream's frames. The zero value expects number
// 0 first. In the normal case, each number one more than the last, it costs one
// comparison; only gaps make it remember anything.
type Sequence struct {
	next    uint64 // one more than the highest number seen
	missing uint64 // numbers below next that have not been seen
	holes   uint64 // bits set in open

	open [window / 64]uint64 // bit n%window: n, one of the last window numbers, is missing

	reordered  uint64 // arrived after a higher number
	duplicated uint64 // arrived before
}

// Verdict is what is to say about one number.
type Verdict uint8

// Verdicts.
const (
	InOrder Verdict = iota
	AfterGap
	Late
	Duplicate
)

// See judges number n, which must be below the number of frames sent.
func (s *Sequence) See(n uint64) Verdict {
	if n == s.next && s.holes == 0 {
		s.next++
		return InOrder
	}
	return s.judge(n)
}

//go:noinline
func (s *Sequence) judge(n uint64) Verdict {
	if n < s.next {
		return s.judgeOld(n)
	}
	gap := n - s.next
	if gap >= window { // whole rounds of the window: all of it is missing
		s.missing += gap - (window - 1)
		clear(s.open[:])
		s.holes = 0
		s.next = n - (window - 1)
		gap = window - 1
	}
	for ; s.next < n; s.next++ {
		s.set(s.next, true)
	}
	s.missing += gap
	s.set(n, false)
	s.next++
	if gap == 0 {
		return InOrder
	}
	return AfterGap
}

// judgeOld judges a number below next. Older than the window, it is taken for a
// duplicate, which leaves it missing.
func (s *Sequence) judgeOld(n uint64) Verdict {
	if s.next-n > window || s.open[n%window/64]>>(n%64)&1 == 0 {
		s.duplicated++
		return Duplicate
	}
	s.set(n, false)
	s.missing--
	s.reordered++
	return Late
}

func (s *Sequence) set(n uint64, missing bool) {
	word, bit := &s.open[n%window/64], uint64(1)<<(n%64)
	if was := *word&bit != 0; was == missing {
		return
	}
	*word ^= bit
	if missing {
		s.holes++
	} else {
		s.holes--
	}
}

// Lost is how many of the first sent numbers never arrived.
func (s *Sequence) Lost(sent uint64) uint64 { return s.missing + sent - min(s.next, sent) }

// Next is one more than the highest number seen.
func (s *Sequence) Next() uint64 { return s.next }

// Reordered is how many arrived after a higher number, for the first time.
func (s *Sequence) Reordered() uint64 { return s.reordered }

// Duplicated is how many had arrived before.
func (s *Sequence) Duplicated() uint64 { return s.duplicated }
