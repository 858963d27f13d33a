package port

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"vvufwd/vvu/vhostuser"
)

// errGone says that the back-end ended the connection.
var errGone = errors.New("the back-end closed the connection; see its log")

// watcher waits for the end of a connection on which nothing should arrive
// while the rings run. It is safe for concurrent use.
type watcher struct {
	conn *vhostuser.Conn
	done chan struct{}

	mu    sync.Mutex
	cause error
}

func watch(conn *vhostuser.Conn) (*watcher, error) {
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	w := &watcher{conn: conn, done: make(chan struct{})}
	go w.run()
	return w, nil
}

func (w *watcher) run() {
	defer close(w.done)
	m, err := w.conn.ReadMessage()
	switch {
	case err == nil:
		m.CloseFDs()
		err = fmt.Errorf("the back-end sent %v, which was not requested", m.Request)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return // stop
	case vhostuser.PeerClosed(err):
		err = errGone
	}
	w.mu.Lock()
	w.cause = err
	w.mu.Unlock()
}

// stop ends the watching, so that replies can be read again, and returns what
// was seen.
func (w *watcher) stop() error {
	if err := w.conn.SetReadDeadline(time.Unix(1, 0)); err == nil {
		<-w.done
	}
	return w.err()
}

// err is why the connection is of no use any more, or nil.
func (w *watcher) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}
