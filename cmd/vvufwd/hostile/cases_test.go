package hostile

import (
	"fmt"
	"sync"
	"testing"

	"vvufwd/vvu/vhostuser"
)

// messageCase says something that may cost the session, and nothing else.
type messageCase struct {
	name    string
	request vhostuser.Request // that play makes; at most one answer may come
	running bool              // the front-end's rings run already
	play    func(g *guest) error
}

// pairsUnderFire is how many pairs share the cases: vvufwd makes front-ends that
// fail wait a while before it serves the next one, but each socket by itself.
const pairsUnderFire = 24

// startPairs starts vvufwd with many pairs and a victim on one more.
func startPairs(t *testing.T) (f *forwarder, sockets []string) {
	t.Helper()
	const n = 2 * pairsUnderFire
	f = startForwarder(t, n+2)
	startVictim(t, f, n, n+1, gentle...)
	return f, f.sockets[:n]
}

// runCases plays the cases, each over a connection of its own, and then checks
// that good front-ends can use every socket and that nothing is left behind.
func runCases(t *testing.T, cases []messageCase) {
	t.Helper()
	f, sockets := startPairs(t)
	before := f.census(t)
	queue := make(chan messageCase)
	var workers sync.WaitGroup
	for _, s := range sockets {
		workers.Go(func() {
			for c := range queue {
				if err := c.run(s); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		})
	}
	for _, c := range cases {
		queue <- c
	}
	close(queue)
	workers.Wait()
	f.alive(t)
	t.Logf("%d cases", len(cases))
	f.settled(t, before)
	for i := 0; i < len(sockets); i += 2 {
		a, b := join(t, sockets[i]), join(t, sockets[i+1])
		exchange(t, a, b)
		a.leave()
		b.leave()
	}
}

// run plays the case and requires that the session then either answers or has
// ended.
func (c *messageCase) run(socket string) error {
	g, err := newGuest(socket, defaultFeatures)
	if err != nil {
		return err
	}
	defer g.leave()
	script := g.script()
	if !c.running {
		script = script[:3] // up to SET_PROTOCOL_FEATURES, so that need_reply means something
	}
	if err := g.play(script); err != nil {
		return fmt.Errorf("before the case: %w", err)
	}
	if err := c.play(g); err != nil {
		return nil // it was cut short
	}
	answers, err := g.listening(c.request)
	if answers > 1 {
		return fmt.Errorf("%d answers", answers)
	}
	return err
}
