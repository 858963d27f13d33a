package port

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vvu/vhostuser"
)

// retryEvery is how often a client tries again while the socket is not there.
const retryEvery = 50 * time.Millisecond

// errInterrupted is the error of waiting that someone ended.
var errInterrupted = fmt.Errorf("interrupted while waiting for the back-end: %w", context.Canceled)

// join connects to the back-end in the role that the configuration says, and
// gives up after the timeout or when ctx ends.
func join(ctx context.Context, cfg Config) (*vhostuser.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if cfg.Server {
		return accept(ctx, cfg)
	}
	for {
		conn, err := vhostuser.Dial(cfg.Socket)
		switch {
		case err == nil:
			return conn, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED):
			return nil, err // it will not get better
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, errInterrupted
			}
			return nil, fmt.Errorf("no back-end listens on it after %v; start the back-end first, or add \",server\" if it is the client", cfg.Timeout)
		case <-time.After(retryEvery):
		}
	}
}

// accept waits for one back-end. The socket file is gone afterwards: a port
// serves one connection.
func accept(ctx context.Context, cfg Config) (*vhostuser.Conn, error) {
	listener, err := vhostuser.Listen(cfg.Socket)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	stop := context.AfterFunc(ctx, func() { listener.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sock, err := listener.AcceptUnix()
	if err != nil {
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return nil, errInterrupted
		case ctx.Err() != nil:
			return nil, fmt.Errorf("no back-end connected within %v; start it as client of this socket", cfg.Timeout)
		}
		return nil, fmt.Errorf("accept: %w", err)
	}
	return vhostuser.NewConn(sock), nil
}

// patient is a transport whose every message has to arrive within a time.
type patient struct {
	conn    *vhostuser.Conn
	timeout time.Duration
}

func (p patient) WriteMessage(m vhostuser.Message) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return err
	}
	return p.conn.WriteMessage(m)
}

func (p patient) ReadMessage() (vhostuser.Message, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return vhostuser.Message{}, err
	}
	return p.conn.ReadMessage()
}
