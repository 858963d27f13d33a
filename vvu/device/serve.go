package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"vvufwd/vvu/vhostuser"
)

// acceptRetry is how long to wait when the process is short of descriptors.
const acceptRetry = 100 * time.Millisecond

// ServeFrontends serves one front-end of the socket after the other until ctx
// ends (nil) or the socket fails. The next is accepted when the one before is
// gone. It closes l.
func (d *Device) ServeFrontends(ctx context.Context, l *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { d.bin.Close(l) })
	defer stop()
	defer d.bin.Close(l)
	for {
		if d.bin.Full() && ctx.Err() == nil { // of what the one before has sent
			time.Sleep(acceptRetry)
			continue
		}
		sock, err := l.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				d.bin.Close(sock)
			}
			return nil
		}
		var passing interface{ Temporary() bool }
		if errors.As(err, &passing) && passing.Temporary() {
			d.log.Warn("cannot accept a front-end now, trying again", zap.Error(err))
			time.Sleep(acceptRetry)
			continue
		}
		if err != nil {
			return fmt.Errorf("accepting front-ends on %s: %w", l.Addr(), err)
		}
		s := &session{d: d, sock: sock, conn: vhostuser.NewConn(sock)}
		s.conn.SetBin(&d.bin)
		s.run(ctx)
	}
}
