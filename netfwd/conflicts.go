package netfwd

import (
	"context"
	"encoding/binary"
	"net"
)

// conflicts are addresses that two ports of a switch use: two guests with the same
// address, most likely the one that their monitor gives to all, or a guest that takes
// another's. The loop only says so; who is told is told by a goroutine of its own.
type conflicts struct {
	names      []string // of ports
	onConflict func(address net.HardwareAddr, ports [2]string)

	seen  chan conflict
	known map[mac]bool // that were told of; the goroutine's
}

type conflict struct {
	address mac
	ports   [2]int
}

// maxConflicts is how many addresses are remembered as told. After as many there is
// silence: guests that invent conflicts shall not fill memory, nor a log.
const maxConflicts = 256

func newConflicts(cfg SwitchConfig) *conflicts {
	c := &conflicts{onConflict: cfg.OnConflict, seen: make(chan conflict, 16), known: map[mac]bool{}}
	for _, p := range cfg.Ports {
		c.names = append(c.names, p.Queues[0].Name())
	}
	return c
}

// report is macTable.conflict. It does not block: if there is no room, whoever reports
// does so again when the address is seen next.
func (c *conflicts) report(address mac, ports [2]int) (told bool) {
	select {
	case c.seen <- conflict{address, ports}:
		return true
	default:
		return false
	}
}

// tell tells of what is reported until ctx is done.
func (c *conflicts) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-c.seen:
			if c.onConflict == nil || c.known[one.address] || len(c.known) == maxConflicts {
				continue
			}
			c.known[one.address] = true
			bytes := binary.LittleEndian.AppendUint64(nil, uint64(one.address))
			c.onConflict(bytes[:6], [2]string{c.names[one.ports[0]], c.names[one.ports[1]]})
		}
	}
}
