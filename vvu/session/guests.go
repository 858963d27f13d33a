package session

import (
	"fmt"

	"go.uber.org/zap"

	"vvufwd/virtio/net/guest"
)

// NewGuests makes the queue pairs of a port, 1 to MaxPairs of them whatever is asked
// for. The first has the port's name, "vvu:0000:00:05.0", the others
// "vvu:0000:00:05.0/q1" and so on. What breaks a ring is logged.
func NewGuests(name string, pairs int, log *zap.Logger) []*guest.Port {
	guests := make([]*guest.Port, min(max(pairs, 1), MaxPairs))
	for i := range guests {
		pairName := name
		if i > 0 {
			pairName = fmt.Sprintf("%s/q%d", name, i)
		}
		guests[i] = guest.New(pairName, reportFailure(log, i))
	}
	return guests
}

// reportFailure logs that a ring of a queue pair has failed. The loop that found out has
// no time for logs: a goroutine of its own writes the line. There is one for each start of
// a ring at most.
func reportFailure(log *zap.Logger, pair int) func(ring string, err error) {
	return func(ring string, err error) {
		go log.Error("the guest violated the ring protocol, the ring is stopped until the guest resets it",
			zap.Int("pair", pair), zap.String("ring", ring), zap.Error(err))
	}
}
