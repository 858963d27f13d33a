package netfwd

import (
	"sync"
	"sync/atomic"
	"time"

	virtionet "vvufwd/virtio/net"
)

// snapshot is what a loop publishes of itself: copies of counters, as the loop has them.
type snapshot struct {
	ports []portSnapshot
	loop  LoopStats
	sw    SwitchStats // if the loop serves a switch
}

// portSnapshot is what is known of a queue pair. Secondary ones, which are not the first of
// their end, are of interest only if they were used.
type portSnapshot struct {
	port      Port
	secondary bool
	counters  virtionet.Counters
}

// add adds queue pairs to a snapshot.
func (s *snapshot) add(p Port, secondary bool) {
	s.ports = append(s.ports, portSnapshot{p, secondary, *p.Counters()})
}

// listed reports whether a queue pair belongs in the statistics.
func (p *portSnapshot) listed() bool {
	c := &p.counters
	return !p.secondary || c.RxPackets|c.TxPackets|c.Interrupts|c.MemoryFaults != 0 || c.Dropped() != 0 || c.Faults != [len(c.Faults)]uint64{}
}

// publisher hands snapshots from a loop to those who ask for them. The loop answers when
// it is asked, and then only, without allocating: it fills the one of two snapshots that
// is not published, so that the one that whoever asked last may still look at stays as it
// is until someone asks again.
type publisher struct {
	mu       sync.Mutex    // held by who asks, until he has looked at the answer
	asked    atomic.Uint64 // questions so far
	answered atomic.Uint64 // the last of them that was answered
	last     atomic.Pointer[snapshot]
	spare    *snapshot // the loop's
}

// due reports whether an answer is due. It belongs to the loop, as answer and renew do.
func (p *publisher) due() bool { return p.asked.Load() != p.answered.Load() }

// answer publishes what fill adds to an empty snapshot.
func (p *publisher) answer(fill func(*snapshot)) {
	question := p.asked.Load()
	s := p.spare
	*s = snapshot{ports: s.ports[:0]}
	fill(s)
	p.spare = p.last.Swap(s)
	p.answered.Store(question)
}

// renew does so though no one has asked, when the loop's groups are others or it ends. It
// allocates as much as answers will need.
func (p *publisher) renew(fill func(*snapshot)) {
	s := &snapshot{}
	fill(s)
	p.last.Store(s)
	p.spare = &snapshot{ports: make([]portSnapshot, 0, len(s.ports))}
}

// collected is a snapshot as it is reported.
type collected struct {
	ports []collectedPort
	loop  LoopStats
}

type collectedPort struct {
	port  Port
	stats PortStats
}

// collect asks loops for snapshots of themselves. Loops answer within some hundred rounds,
// sleeping ones are woken. Of a loop that does not answer within answerTime, because
// no one lets it run, it returns what the loop has published last.
func collect(loops []*Loop) []collected {
	for _, l := range loops { // several who ask do so in the same order
		l.stats.mu.Lock()
		defer l.stats.mu.Unlock()
		l.stats.asked.Add(1)
		l.Wake()
	}
	deadline := time.Now().Add(answerTime)
	all := make([]collected, len(loops))
	for i, l := range loops {
		for l.stats.due() && !l.ended() && time.Now().Before(deadline) {
			time.Sleep(answerTime / 1000)
		}
		all[i] = l.stats.last.Load().collected()
	}
	return all
}

// answerTime is far more than a loop takes that has a CPU.
const answerTime = 100 * time.Millisecond

func (s *snapshot) collected() collected {
	c := collected{loop: s.loop}
	if s.sw.Ports > 0 {
		sw := s.sw
		c.loop.Switch = &sw
	}
	for i := range s.ports {
		if p := &s.ports[i]; p.listed() {
			c.ports = append(c.ports, collectedPort{p.port, portStats(p.port.Name(), &p.counters)})
		}
	}
	return c
}
