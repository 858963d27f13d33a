// Package door has peers wait at a socket that serves one at a time, and tells the log of those who do.
package door

import (
	"net"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio/peerfd"
)

// room is how many peers wait at a time.
const room = 8

// Files is how many descriptors a door has at most for peers that are not served: those who wait, one that comes, and those who
// are being refused.
const Files = room + 1 + peerfd.BinSize

// Peers are those who come to a socket.
type Peers struct {
	Name     string        // of one: "front-end"
	Advice   string        // for who has connected another
	Patience time.Duration // how long one waits for another to leave, before it is refused
}

// At makes a door at a listener, which logs that a peer waits or is refused, and why none is let in. Bin is for what peers send to
// who serves them.
func At(l *net.UnixListener, bin *peerfd.Bin, p Peers, log *zap.Logger) *peerfd.Door {
	return &peerfd.Door{Listener: l, Bin: bin, Patience: p.Patience, Room: room, Said: func(event peerfd.DoorEvent, err error) {
		switch event {
		case peerfd.PeerWaits:
			log.Warn("another "+p.Name+" is waiting for the connected one to disconnect", zap.Duration("patience", p.Patience))
		case peerfd.PeerRefused:
			log.Warn("refused a " + p.Name + ", because another one is connected: " + p.Advice)
		case peerfd.AcceptFailed:
			log.Error("cannot accept a "+p.Name+" now, trying again", zap.Error(err))
		case peerfd.DoorStuck:
			log.Warn("file descriptors that a refused " + p.Name + " has sent take too long to close: no other is let in until they are")
		}
	}}
}
