package main

import (
	"errors"
	"net"
	"os"

	"vvufwd/cmd/internal/cli"
	"vvufwd/cmd/internal/confine"
	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vhostuser"
)

// listeners are the sockets at which vvufwd waits for front-ends, by path. They are opened
// with all the privileges that it is started with.
type listeners map[string]*net.UnixListener

// listen opens the sockets that the command line names.
func listen(o *options) (listeners, error) {
	all := listeners{}
	for _, p := range o.ports {
		if !p.atSocket() || p.client {
			continue
		}
		l, err := vhostuser.Listen(p.path)
		if err != nil {
			all.close()
			return nil, cli.Unusablef("%s: %w", p.flag, err)
		}
		all[p.path] = l
	}
	return all, nil
}

// inheritListeners takes over the sockets of the vvufwd that this one was.
func inheritListeners(o *options) (listeners, error) {
	all := listeners{}
	for _, p := range o.ports {
		if !p.atSocket() || p.client {
			continue
		}
		l, err := confine.InheritedListener(p.path)
		if l == nil && err == nil {
			err = errors.New(p.path + " was not handed over")
		}
		if err != nil {
			all.close()
			return nil, err
		}
		all[p.path] = l
	}
	return all, nil
}

// hand adds the sockets to the files that this process hands over to the one that it
// becomes.
func (all listeners) hand(files map[string]*os.File) error {
	for path, l := range all {
		f, err := confine.ListenerFile(l)
		if err != nil {
			return err
		}
		files[path] = f
	}
	return nil
}

// take is the listener of a port, which is the port's from then on.
func (all listeners) take(path string) *net.UnixListener {
	l := all[path]
	delete(all, path)
	return l
}

// close closes what no one has taken, and removes the sockets.
func (all listeners) close() {
	for _, l := range all {
		new(peerfd.Bin).Close(l)
	}
}
