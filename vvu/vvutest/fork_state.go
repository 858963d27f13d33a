package vvutest

import "vvufwd/virtio"

// forkState is the state of the fork's connection (contract 2.2), under the names that
// its source gives them.
type forkState int

const (
	forkInitial   forkState = iota
	forkSlaveUp             // the driver is up, and no front-end is known to be there
	forkCHROpened           // a front-end is known to be there, and the driver is not up
	forkConnected           // both
)

// connected reports whether messages pass; mu is held.
func (f *Fork) connected() bool { return f.state == forkConnected }

// up is SLAVE_UP as the driver reads it; mu is held.
func (f *Fork) up() bool { return f.state == forkSlaveUp || f.state == forkConnected }

// broken reports whether the device waits for a reset; mu is held.
func (f *Fork) broken() bool { return f.status&virtio.StatusNeedsReset != 0 }

// setUp carries out a write of SLAVE_UP; only an edge has an effect. mu is held.
func (f *Fork) setUp(up bool) {
	switch {
	case up == f.up():
	case up:
		f.raised++
		f.state++
		if f.connected() {
			f.configChanged()
		}
	case f.connected():
		f.drop(false)
	default:
		f.state = forkInitial
	}
	f.cond.Broadcast()
}

// opened is the event that the socket is open; mu is held.
func (f *Fork) opened() {
	switch f.state {
	case forkInitial:
		f.state = forkCHROpened
	case forkSlaveUp:
		f.state = forkConnected
		f.configChanged()
	}
	f.cond.Broadcast()
}

// closed is the event that the front-end has closed its socket; mu is held.
func (f *Fork) closed() {
	f.frontend = nil
	switch f.state {
	case forkCHROpened:
		f.state = forkInitial
	case forkConnected:
		f.drop(true)
	}
	f.cond.Broadcast()
}

// drop ends the session as far as the device is concerned. The socket stays
// open, and with it the front-end's belief that all is well; the device sets its
// handlers again for the socket, and by that learns again that it is open. mu is held.
func (f *Fork) drop(tell bool) {
	f.state = forkInitial
	f.session++
	f.dropResources()
	if f.frontend != nil {
		f.opened()
	}
	if tell {
		f.configChanged()
	}
	f.cond.Broadcast()
}

// resetConnection is what a reset of the device does to the connection. Only a device
// that is connected looks at the socket then. One that merely knows of a front-end
// forgets it, and nothing will tell it again as long as that stays: it is not read from,
// and waits for ever. mu is held, or no one knows the device yet.
func (f *Fork) resetConnection() {
	if f.connected() {
		f.drop(false)
	} else {
		f.state = forkInitial
	}
}
