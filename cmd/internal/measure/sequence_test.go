package measure

import (
	"math/rand/v2"
	"testing"
)

// model remembers everything.
type model struct {
	seen                  map[uint64]bool
	highest               uint64
	reordered, duplicated uint64
}

func (m *model) see(n uint64) {
	switch {
	case m.seen[n]:
		m.duplicated++
	case len(m.seen) > 0 && n < m.highest:
		m.reordered++
	}
	m.seen[n] = true
	m.highest = max(m.highest, n)
}

// TestSequenceAgainstModel sends numbers with gaps, repeats and detours, none
// further than the window.
func TestSequenceAgainstModel(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var s Sequence
		m := model{seen: map[uint64]bool{}}
		var numbers []uint64
		var sent uint64
		for range 20000 {
			switch rnd.IntN(40) {
			case 0: // lost
			case 1:
				numbers = append(numbers, sent, sent)
			case 2:
				numbers = append(numbers, sent)
				i, j := len(numbers)-1, max(0, len(numbers)-1-rnd.IntN(300))
				numbers[i], numbers[j] = numbers[j], numbers[i]
			case 3:
				sent += uint64(rnd.IntN(1000)) // a whole gap
				numbers = append(numbers, sent)
			default:
				numbers = append(numbers, sent)
			}
			sent++
		}
		for _, n := range numbers {
			s.See(n)
			m.see(n)
		}
		if got, want := s.Lost(sent), sent-uint64(len(m.seen)); got != want {
			t.Errorf("seed %d: %d lost, want %d", seed, got, want)
		}
		if s.reordered != m.reordered || s.duplicated != m.duplicated {
			t.Errorf("seed %d: %d reordered, %d duplicated, want %d, %d", seed, s.reordered, s.duplicated, m.reordered, m.duplicated)
		}
	}
}

func TestSequenceWindow(t *testing.T) {
	var s Sequence
	s.See(0)
	s.See(3 * window) // far ahead: everything between is missing
	if got, want := s.Lost(3*window+1), uint64(3*window-1); got != want {
		t.Errorf("%d lost, want %d", got, want)
	}
	if got := s.See(3*window - 5); got != Late {
		t.Errorf("number within the window is %d, want late", got)
	}
	if got := s.See(7); got != Duplicate {
		t.Errorf("number before the window is %d, want duplicate", got)
	}
	if got, want := s.Lost(3*window+1), uint64(3*window-2); got != want {
		t.Errorf("%d lost, want %d", got, want)
	}
	// Gaps that slide out of the window stay lost and make the fast way free again.
	for n := uint64(3*window + 1); n <= 5*window; n++ {
		if got := s.See(n); got != InOrder {
			t.Fatalf("number %d is %d, want in order", n, got)
		}
	}
	if s.holes != 0 {
		t.Errorf("%d holes are left, want none", s.holes)
	}
	if got, want := s.Lost(5*window+1), uint64(3*window-2); got != want {
		t.Errorf("%d lost, want %d", got, want)
	}
}

func TestSequenceOfNothing(t *testing.T) {
	var s Sequence
	if got := s.Lost(1000); got != 1000 {
		t.Errorf("%d of 1000 lost when none came, want all", got)
	}
}
