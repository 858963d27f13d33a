package vvutest

import "vvufwd/virtio"

// Break puts the device out of action, as an error in its program does, until the
// driver resets it.
func (f *Fork) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.needsReset()
}

// BreakRing completes a buffer on rxq that the driver never offered.
func (f *Fork) BreakRing() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete(rxq, f.queues[rxq].ring, 0x7fff, 12)
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
