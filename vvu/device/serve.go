package device

import (
	"context"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vhostuser"
)

// patience is how long a front-end waits for another to leave, before it is refused.
// So many wait at a time.
const (
	patience = 5 * time.Second
	waiting  = 8
)

// ServeFrontends serves one front-end of the socket after the other until ctx
// ends (nil) or the socket fails. One that comes while another is served waits for
// a while, and is then refused; the log says so. It closes l.
func (d *Device) ServeFrontends(ctx context.Context, l *net.UnixListener) error {
	door := peerfd.Door{Listener: l, Bin: &d.bin, Patience: patience, Room: waiting, Said: d.logDoorEvent}
	err := door.Serve(ctx, func(sock *net.UnixConn) { d.ServeFrontend(ctx, sock) })
	if err != nil {
		return fmt.Errorf("accepting front-ends on %s: %w", l.Addr(), err)
	}
	return nil
}

// ServeFrontend serves one front-end, whose connection it takes over, until that is gone or ctx
// ends. It is for who takes front-ends himself, or is one: there must be one at a time.
func (d *Device) ServeFrontend(ctx context.Context, sock *net.UnixConn) {
	s := &session{d: d, sock: sock, conn: vhostuser.NewConn(sock)}
	s.conn.SetBin(&d.bin)
	s.run(ctx)
}

func (d *Device) logDoorEvent(event peerfd.DoorEvent, err error) {
	switch event {
	case peerfd.PeerWaits:
		d.log.Warn("another front-end is waiting for the connected one to disconnect", zap.Duration("patience", patience))
	case peerfd.PeerRefused:
		d.log.Warn("refused a front-end, because another one is connected: a device serves one app VM, give each a vvudev of its own")
	case peerfd.AcceptFailed:
		d.log.Warn("cannot accept a front-end now, trying again", zap.Error(err))
	case peerfd.DoorStuck:
		d.log.Warn("front-ends that were refused have sent file descriptors that take too long to close: no other is let in until they are")
	}
}
