package metrics

import (
	"sync"
	"sync/atomic"
	"time"
)

// How long a page is served: it is replaced from the first age on, and from the second on a scraper waits for the next one.
const (
	fresh = 500 * time.Millisecond
	stale = time.Second
)

// pages makes pages, one at a time, and keeps the last. Who comes in a crowd is hung up on before a page can be made for it, so that
// there has to be one already. It is safe for concurrent use.
type pages struct {
	make func() string

	last   atomic.Pointer[page]
	turn   sync.Mutex     // held while a page is made
	making sync.WaitGroup // those made for no one in particular
}

type page struct {
	text string
	at   time.Time // when it was begun
}

// get returns a page that is not stale.
func (p *pages) get() string {
	if text, age := p.kept(); age < stale {
		if age >= fresh && p.turn.TryLock() {
			p.making.Go(func() {
				defer p.turn.Unlock()
				p.next()
			})
		}
		return text
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	if text, age := p.kept(); age < stale { // it was made in the meantime
		return text
	}
	return p.next()
}

// kept is the last page, and how old it is: stale, if there is none.
func (p *pages) kept() (string, time.Duration) {
	last := p.last.Load()
	if last == nil {
		return "", stale
	}
	return last.text, time.Since(last.at)
}

// next makes one. p.turn is held.
func (p *pages) next() string {
	begun := time.Now()
	text := p.make()
	p.last.Store(&page{text, begun})
	return text
}
