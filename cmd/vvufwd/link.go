package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"vvufwd/cmd/internal/cli"
)

// firstLink is how long an interface that was just set up may take to get a link before ports
// are served without.
const firstLink = 5 * time.Second

// awaitLinks waits, within reason, until all interfaces of the kernel have a link. Those that get
// theirs later are followed like any others.
func (f *forwarder) awaitLinks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstLink)
	defer cancel()
	for _, p := range f.ports {
		if p.netdev == nil {
			continue
		}
		if p.link = p.netdev.AwaitLink(ctx); !p.link {
			f.log.Warn("an interface has no link so far; going on without", zap.String("port", p.Name()))
		}
	}
}

// checkFollowLink returns a usage error if --follow-link was given and no guest would have a link to follow.
func (o *options) checkFollowLink() error {
	if !o.followLink {
		return nil
	}
	if !slices.ContainsFunc(o.ports, portSpec.uplink) {
		return cli.Usagef("--follow-link: no port has a link to follow: it needs a --nic, or a --port of the kernel's interfaces")
	}
	each := 2
	if o.switched {
		each = len(o.ports)
	}
	for joined := range slices.Chunk(o.ports, each) {
		uplinks := 0
		for _, p := range joined {
			if p.uplink() {
				uplinks++
			}
		}
		if 0 < uplinks && uplinks < len(joined) {
			return nil
		}
	}
	if o.switched {
		return cli.Usagef("--follow-link: no port is a guest's, whose link could follow: leave it out")
	}
	return cli.Usagef("--follow-link: no guest is paired with a port that has a link; ports are paired in the order given")
}

// links makes guests' links follow those of NICs: they are up as long as one of the NICs
// is that they can reach.
type links struct {
	guests []guestEnd

	mu   sync.Mutex
	nics map[*port]bool // whether each is up
}

// followLinks sets up what --follow-link asks for: in a pair the guest follows the NIC,
// at a switch all guests follow all NICs.
func (f *forwarder) followLinks(o *options) {
	if o.switched {
		follow(f.ports)
		return
	}
	for i := 0; i+1 < len(f.ports); i += 2 {
		follow(f.ports[i : i+2])
	}
}

// follow makes the guests among ports follow the NICs among them.
func follow(ports []*port) {
	l := &links{nics: map[*port]bool{}}
	for _, p := range ports {
		if p.guest != nil {
			l.guests = append(l.guests, p.guest)
		}
	}
	for _, p := range ports {
		if p.guest == nil {
			l.nics[p] = p.link
			p.onLink = func(up bool) { l.change(p, up) }
		}
	}
	if len(l.nics) > 0 && !l.up() {
		l.tell(false)
	}
}

// up reports whether any NIC has a link.
func (l *links) up() bool {
	for _, up := range l.nics {
		if up {
			return true
		}
	}
	return false
}

func (l *links) tell(up bool) {
	for _, g := range l.guests {
		g.SetLink(up)
	}
}

// change notes a NIC's link, and tells guests if it makes a difference to them.
func (l *links) change(nic *port, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.up()
	l.nics[nic] = up
	if now := l.up(); now != before {
		l.tell(now)
	}
}
