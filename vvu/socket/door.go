package socket

import (
	"context"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio/peerfd"
)

// patience is how long a front-end waits for another to leave, before it is refused. So
// many wait at a time: some may be gone already, which shows when it is their turn.
const (
	patience = 5 * time.Second
	waiting  = 8
)

// openDoor begins to accept front-ends, until ctx ends, and closes the listener then.
func (e *Endpoint) openDoor(ctx context.Context) *peerfd.Door {
	door := &peerfd.Door{Listener: e.listener, Bin: &e.bin, Patience: patience, Room: waiting, Said: e.saidAtDoor}
	door.Open(ctx)
	return door
}

func (e *Endpoint) saidAtDoor(event peerfd.DoorEvent, err error) {
	switch event {
	case peerfd.PeerWaits:
		e.log.Warn("another front-end has come, and waits for the one that is connected to leave", zap.Duration("patience", patience))
	case peerfd.PeerRefused:
		e.log.Warn("refused a front-end, for another is connected: a socket serves one guest, give each a port of its own")
	case peerfd.AcceptFailed:
		e.log.Error("cannot accept a front-end; trying again", zap.Error(err))
	}
}
