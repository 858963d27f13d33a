package nic

import (
	"errors"
	"fmt"
	"sync"

	"vvufwd/netfwd"
)

// Slot is where a card is. Its ports are what those who forward know: they stay the same while the
// card is taken away and another one put in. Without a card they drop what is sent
// as if there were no link, and nothing comes.
//
// Safe for concurrent use, its ports aside, which belong to forwarders.
type Slot struct {
	ports  []*port
	warn   func(error)
	opener Opener

	mu       sync.Mutex // held while the card is commanded, or replaced
	card     Card       // nil: none
	failed   chan error // what the card said of its failure
	spread   int        // what it was told last; 0: nothing
	last     Info
	restarts uint64
}

// NewSlot opens a card with at most so many queue pairs, and returns the slot that it is in and
// whether it has a link. No one forwards for it yet.
func NewSlot(o Opener, pairs int) (s *Slot, up bool, err error) {
	s = &Slot{opener: o, warn: func(error) {}}
	card, failed, err := s.openCard(pairs)
	if err != nil {
		return nil, false, err
	}
	if up, err = card.Link(); err != nil {
		return nil, false, errors.Join(err, card.Close())
	}
	s.card, s.failed, s.last = card, failed, card.Info()
	for _, q := range card.Queues() {
		s.ports = append(s.ports, newPort(q, up))
	}
	return s, up, nil
}

// openCard opens a card, whose first failure is what comes from failed.
func (s *Slot) openCard(pairs int) (card Card, failed chan error, err error) {
	failed = make(chan error, 1)
	card, err = s.opener.Open(pairs, func(why error) {
		select {
		case failed <- why:
		default:
		}
	})
	return card, failed, err
}

// Ports are the slot's ports, one for each queue pair.
func (s *Slot) Ports() []netfwd.Port {
	ports := make([]netfwd.Port, len(s.ports))
	for i, p := range s.ports {
		ports[i] = p
	}
	return ports
}

// OnChange sets the function that wakes the forwarders; call it before forwarding begins.
func (s *Slot) OnChange(wake func()) {
	for _, p := range s.ports {
		p.wake = wake
	}
}

// OnWarning sets the function that is told what is wrong with a card that is used in spite of it;
// call it before the slot is emptied.
func (s *Slot) OnWarning(warn func(error)) { s.warn = warn }

// Info is of the card, or of the last one.
func (s *Slot) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Card is the card that is in, or nil.
func (s *Slot) Card() Card {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.card
}

// SetLink says whether the card has a link; without one what is sent is dropped.
func (s *Slot) SetLink(up bool) {
	for _, p := range s.ports {
		p.linkDown.Store(!up)
		p.wake() // what waits for room is to be dropped
	}
}

// Up reports whether there is a card with a link.
func (s *Slot) Up() bool { return !s.ports[0].linkDown.Load() }

// Spread is netfwd.End's. A card that is put in later is told, too.
func (s *Slot) Spread(pairs int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spread = pairs
	if s.card == nil {
		return nil
	}
	return s.card.Spread(pairs)
}

// Remove takes the card from the forwarders and closes it: when it returns they touch
// neither its registers nor its memory, nor does the card. Its Watch must have returned.
// Without a card it does nothing.
func (s *Slot) Remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.card == nil {
		return nil
	}
	card := s.card
	s.card = nil
	for _, p := range s.ports {
		p.replace(newAbsent(), false)
	}
	return card.Close()
}

// Open opens the card of an empty slot, with as many queue pairs as the first one had, and
// reports whether it has a link.
func (s *Slot) Open() (up bool, err error) {
	card, failed, err := s.openCard(len(s.ports))
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if up, err = s.ready(card); err != nil {
		return false, errors.Join(err, card.Close())
	}
	for i, q := range card.Queues() {
		s.ports[i].replace(q, up)
	}
	s.card, s.failed, s.last = card, failed, card.Info()
	return up, nil
}

// ready makes a card ready for the slot's ports. s.mu is held.
func (s *Slot) ready(card Card) (up bool, err error) {
	if n := len(card.Queues()); n != len(s.ports) {
		return false, fmt.Errorf("%s: has %d queue pairs and had %d when vvufwd started: plug it in as it was, or start vvufwd anew",
			card.Info().Name, n, len(s.ports))
	}
	if s.spread > 0 {
		if err := card.Spread(s.spread); errors.Is(err, ErrRefused) {
			s.warn(err) // as at the start: crosvm's takes no number but its own, and works
		} else if err != nil {
			return false, err
		}
	}
	return card.Link()
}

// failures is where the failure of the card that is in is told.
func (s *Slot) failures() <-chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// State is what statistics tell of a slot.
type State struct {
	Working  bool              `json:"working"`  // there is a card in it
	Restarts uint64            `json:"restarts"` // of cards that had failed
	Counters map[string]uint64 `json:"counters,omitempty"`
}

// State tells of the slot, with the card's own counters.
func (s *Slot) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Working: s.card != nil, Restarts: s.restarts}
	if s.card == nil {
		return st
	}
	for _, c := range s.card.Statistics() {
		if st.Counters == nil {
			st.Counters = map[string]uint64{}
		}
		st.Counters[c.Name] = c.Value
	}
	return st
}

// countRestart counts one, and returns how many there were.
func (s *Slot) countRestart() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarts++
	return s.restarts
}

// Close takes the card out for good, after the forwarders have ended, or before any has begun:
// a port that does not open ends the program while the others have none.
func (s *Slot) Close() error {
	for _, p := range s.ports {
		p.Leave()
	}
	return s.Remove()
}
