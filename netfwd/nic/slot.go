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
	ports []*port

	mu     sync.Mutex // held while the card is commanded, or replaced
	card   Card       // nil: none
	spread int        // what it was told last; 0: nothing
	last   Info
}

// NewSlot returns a slot with a card in it, which it owns. Nobody forwards for it yet.
func NewSlot(card Card) (*Slot, error) {
	up, err := card.Link()
	if err != nil {
		return nil, err
	}
	s := &Slot{card: card, last: card.Info()}
	for _, q := range card.Queues() {
		s.ports = append(s.ports, newPort(q, up))
	}
	return s, nil
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
	}
}

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

// Insert puts a card into an empty slot, with as many queue pairs as the first one had, and
// reports whether it has a link. It owns the card, also when it fails.
func (s *Slot) Insert(card Card) (up bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queues := card.Queues()
	if len(queues) != len(s.ports) {
		return false, errors.Join(fmt.Errorf("%s: has %d queue pairs and had %d when vvufwd started: plug it in as it was, or start vvufwd anew",
			card.Info().Name, len(queues), len(s.ports)), card.Close())
	}
	if up, err = card.Link(); err != nil {
		return false, errors.Join(err, card.Close())
	}
	for i, p := range s.ports {
		p.replace(queues[i], up)
	}
	s.card, s.last = card, card.Info()
	if s.spread > 0 {
		err = card.Spread(s.spread)
	}
	return up, err
}

// Close takes the card out for good, after the forwarders have ended.
func (s *Slot) Close() error { return s.Remove() }
