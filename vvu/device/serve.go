package device

import (
	"context"
	"fmt"
	"net"
	"time"

	"vvufwd/vvu/door"
	"vvufwd/vvu/vhostuser"
)

// peers are those who come to the socket.
var peers = door.Peers{Name: "front-end", Advice: "a device serves one app VM, give each a vvudev of its own", Patience: 5 * time.Second}

// ServeFrontends serves one front-end of the socket after the other until ctx
// ends (nil) or the socket fails. One that comes while another is served waits for
// a while, and is then refused; the log says so. It closes l.
func (d *Device) ServeFrontends(ctx context.Context, l *net.UnixListener) error {
	err := door.At(l, &d.bin, peers, d.log).Serve(ctx, func(sock *net.UnixConn) { d.ServeFrontend(ctx, sock) })
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
