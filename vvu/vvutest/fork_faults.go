package vvutest

import (
	"vvufwd/virtio"
	"vvufwd/vvu/vhostuser"
)

// Break puts the device out of action, as an error in its program does, until the
// driver resets it.
func (f *Fork) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.needsReset()
}

// RefuseFeatures makes the device accept no driver.
func (f *Fork) RefuseFeatures(refuse bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cfg.RefuseFeatures = refuse
}

// RefuseVectors makes the notification registers take no vector, as if the device
// had run out of them.
func (f *Fork) RefuseVectors(refuse bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuseVectors = refuse
}

// BreakRing completes a buffer on rxq that the driver never offered.
func (f *Fork) BreakRing() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete(rxq, f.queues[rxq].ring, 0x7fff, 12)
}

// Flood delivers a message whenever the driver offers a buffer for one, at once:
// rxq is never empty. Nil ends it.
func (f *Fork) Flood(m *vhostuser.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flood = m
	f.deliverFlood()
}

// deliverFlood uses every buffer of rxq for the flood, if there is one; mu is held.
func (f *Fork) deliverFlood() {
	for f.flood != nil && f.connected() && f.deliver(*f.flood) {
	}
}

// HoldReplies makes the device leave txq alone; ReleaseReplies makes it work on
// it again.
func (f *Fork) HoldReplies() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holdReplies = true
}

// ReleaseReplies ends HoldReplies.
func (f *Fork) ReleaseReplies() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holdReplies = false
	f.sendReplies()
}

// QueuedReplies is how many replies of the driver wait in txq.
func (f *Fork) QueuedReplies() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.usable(txq)
	if q == nil {
		return 0
	}
	return q.Available()
}

// LostReplies counts replies that came when no front-end was there.
func (f *Fork) LostReplies() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lostReplies
}

// Raised counts how often the driver said that it is up.
func (f *Fork) Raised() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.raised
}

// Connection returns the status field without an access of the driver.
func (f *Fork) Connection() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.connection()
}

// DriverOK reports whether a driver drives the device.
func (f *Fork) DriverOK() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status&virtio.StatusDriverOK != 0 && !f.broken()
}

// HasFrontend reports whether a front-end has its socket open, which the device may have
// forgotten.
func (f *Fork) HasFrontend() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.frontend != nil
}
