package vfiouser

import "vvufwd/virtio/mem"

// What the tests outside of the package share with those inside.
var (
	NewFakeDevice = newFakeDevice
	ServeForTest  = serve
	Memfd         = memfd
	EventFD       = eventfd
	Signalled     = signalled
	OpenFDs       = openFDs
	Eventually    = eventually
)

type GPA = mem.GPA

func (d *fakeDevice) Take() []string { return d.take() }
func (d *fakeDevice) Host() Host     { return d.host }
func (d *fakeDevice) RAM() int       { return d.ramFD }
