package confine

import (
	"fmt"
	"net"
	"os"
)

// ListenerFile is the file of a listener, for Start.
func ListenerFile(l *net.UnixListener) (*os.File, error) {
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("hand %v over: %w", l.Addr(), err)
	}
	return f, nil
}

// InheritedListener takes over a listener that was given to Start, or nil if there is none
// of that name. To close it removes its socket.
func InheritedListener(name string) (*net.UnixListener, error) {
	f := Inherited(name)
	if f == nil {
		return nil, nil
	}
	defer f.Close() // the listener has a descriptor of its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take %s over: %w", name, err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("take %s over: it is not a UNIX socket", name)
	}
	u.SetUnlinkOnClose(true)
	return u, nil
}
