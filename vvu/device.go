package vvu

import (
	"errors"
	"fmt"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
	"vvufwd/virtio/net/guest"
	virtiopci "vvufwd/virtio/pci"
	"vvufwd/vvu/session"
)

// Device configuration space (draft, "Device configuration layout").
const (
	cfgStatus    = 0 // u32, read and write; nothing else may be written
	cfgMaxQueues = 4 // u32
	cfgUUID      = 8 // 16 bytes

	// Of vvudev's device, with featureLink: u32, 1 unless we took the link down.
	cfgLink = 24
)

// featureLink says that the device has cfgLink. The draft has no features of its own.
const featureLink virtio.Features = 1 << 0

// Status bits in configuration space. The draft calls them SLAVE_UP and
// MASTER_UP.
const (
	statusDriverUp   uint32 = 1 << 0 // we are ready for a front-end
	statusFrontendUp uint32 = 1 << 1 // a front-end is connected
)

// Queues of the device, and the vectors that we give to interrupt sources.
const (
	queueRx = 0 // front-end to driver
	queueTx = 1 // driver to front-end

	vectorConfig    = 0
	vectorRx        = 1
	vectorTx        = 2
	vectorFirstKick = 3 // of vring 0; vring i has vectorFirstKick + i
)

// PCIDevice is what Device needs of VFIO; *vfio.Device is one.
type PCIDevice interface {
	virtiopci.Device
	BARSize(bar int) uint64
	MapBAR(bar int, offset, size uint64) ([]byte, error)
	Unmap(mem []byte) error
	EnableBusMaster() error
	MSIXCount() int
	EnableMSIX(n int) error
	Vector(i int) int
}

// Allocator hands out memory that the device can reach.
type Allocator interface {
	Alloc(size, align int) (dma.Memory, error)
}

// Device is a virtio-vhost-user PCI function. Its methods belong to one
// goroutine, except for doorbells.
type Device struct {
	name      string
	pci       PCIDevice
	transport *virtiopci.Transport
	caps      virtiopci.Capabilities
	pairs     int  // queue pairs that are served
	commands  bool // a control queue is served besides
	hasLink   bool // featureLink was negotiated

	config    mmio.Space
	doorbells mmio.Space
	vectors   mmio.Space // notification registers
	messages  *messages
	memory    peerMemory
}

// Open takes the device from reset to a state in which Up makes it ready for
// a front-end: features negotiated, vectors set, message buffers posted. name
// is the function's PCI address, for errors. Up to maxPairs queue pairs are served, as
// many as the device can: see Pairs.
func Open(name string, function PCIDevice, alloc Allocator, maxPairs int) (*Device, error) {
	transport, err := virtiopci.Open(function, 0)
	if err != nil {
		return nil, err
	}
	d := &Device{name: name, pci: function, transport: transport, caps: transport.Capabilities()}
	if err = d.recognise(); err != nil {
		return nil, err
	}
	if d.config = transport.DeviceConfig(); d.config == nil || d.config.Len() < cfgUUID {
		return nil, &pci.DeviceError{Device: name, Problem: "has no device configuration space", Remedy: "its virtio-vhost-user implementation is not supported"}
	}
	if d.doorbells, err = transport.Space(d.caps.Doorbell); err != nil {
		return nil, err
	}
	if d.vectors, err = transport.Space(d.caps.Notification); err != nil {
		return nil, err
	}
	if err = function.EnableBusMaster(); err != nil {
		return nil, err
	}
	if err = d.fit(maxPairs); err != nil {
		return nil, err
	}
	if err = d.reset(); err != nil { // also restores the queues' largest sizes
		return nil, err
	}
	if d.messages, err = newMessages(transport, alloc); err != nil {
		return nil, err
	}
	if err = d.start(); err != nil {
		return nil, err
	}
	return d, nil
}

// fit decides how many queue pairs are served, at most maxPairs, and whether a control
// queue is, and enables a vector for each of their vrings. It is fewer if the device has
// not enough of what a vring takes, or the machine too few vectors to give: there are some
// 200 for each CPU, for all devices together. A pair is worth more than a control queue,
// which QEMU keeps to itself.
func (d *Device) fit(maxPairs int) error {
	most := int(min(d.MaxQueues(), uint32(session.Rings(session.MaxPairs))))
	if most < 2 {
		return &pci.DeviceError{Device: d.name, Problem: fmt.Sprintf("can connect %d vrings, 2 are needed", most), Remedy: "start it with more, such as vvudev --queues 2"}
	}
	most = min(most, d.pci.MSIXCount()-vectorFirstKick)
	for most > 2 && d.doorbellsEnd(most) > d.doorbells.Len() {
		most--
	}
	if end := d.doorbellsEnd(most); end > d.doorbells.Len() {
		return &pci.DeviceError{Device: d.name, Problem: fmt.Sprintf("has a doorbell area of %d bytes, %d are needed", d.doorbells.Len(), end),
			Remedy: "its virtio-vhost-user implementation is not supported"}
	}
	pairs := min(max(maxPairs, 1), session.MaxPairs, most/2)
	rings := min(most, session.Rings(pairs))
	for {
		err := d.pci.EnableMSIX(vectorFirstKick + rings)
		if err == nil || rings == 2 {
			d.pairs, d.commands = rings/2, rings%2 == 1
			return err
		}
		if rings--; rings%2 == 1 { // it was too much without a control queue too
			rings = session.Rings((rings + 1) / 4)
		}
	}
}

// Pairs is how many queue pairs are served: as many as MSI-X vectors, doorbells and
// vrings of the device suffice for.
func (d *Device) Pairs() int { return d.pairs }

// rings is the number of vrings that are served.
func (d *Device) rings() uint16 {
	if d.commands {
		return uint16(session.Rings(d.pairs))
	}
	return uint16(2 * d.pairs)
}

// doorbellsEnd is how long the doorbell area is that so many vrings need.
func (d *Device) doorbellsEnd(rings int) uint64 { return d.doorbellOffset(rings-1) + 2 }

// recognise tells a virtio-vhost-user device from others by its capabilities:
// its PCI id is also the official id of virtio-mem.
func (d *Device) recognise() error {
	for _, c := range []struct {
		name string
		loc  virtiopci.Location
	}{
		{"doorbell", d.caps.Doorbell}, {"notification", d.caps.Notification}, {"shared memory", d.caps.SharedMemory},
	} {
		if !c.loc.Present {
			return &pci.DeviceError{Device: d.name,
				Problem: fmt.Sprintf("not a virtio-vhost-user device: it has no %s capability (virtio device id %d)", c.name, d.transport.DeviceID()),
				Remedy:  "give --vvu the address of the virtio-vhost-user function, see lspci -nn"}
		}
	}
	if need := vectorFirstKick + 2; d.pci.MSIXCount() < need {
		return &pci.DeviceError{Device: d.name,
			Problem: fmt.Sprintf("has %d MSI-X vectors, %d are needed", d.pci.MSIXCount(), need),
			Remedy:  fmt.Sprintf("start it with vectors=%d or more", need)}
	}
	return nil
}

// start takes the device from any state to DRIVER_OK, in the bring-up order of
// the draft. Notification vectors come before all others: after a reset, QEMU's
// device may still hold an old vector number there, and replacing that one later
// would take the vector away from whoever was given it in between.
//
// A device that does not start is left in reset, not FAILED: with QEMU's, the next
// attempt would otherwise have to be up for a moment to keep the front-end that comes
// meanwhile, see reset.
func (d *Device) start() (err error) {
	t := d.transport
	if err := d.reset(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Reset())
		}
	}()
	features, err := t.Negotiate(virtio.Version1 | featureLink)
	if err != nil {
		return err
	}
	d.hasLink = features.Has(featureLink)
	for _, step := range []func() error{
		d.setKickVectors,
		func() error { return d.messages.setUp(t) },
		func() error { return t.SetConfigVector(vectorConfig) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	t.DriverOK()
	d.messages.start()
	return nil
}

// reset resets the device, unless it is in reset, in the one way in which QEMU's device
// does not forget a front-end. Its state machine has no memory of a socket that is open
// while we are not up: a reset then makes it believe that no front-end is there, the
// socket stays open, no one reads from it, and a monitor that waits for an answer hangs
// until it is killed. So a device that is in reset is not reset again, a device that is up
// is reset as it is (it looks at the socket then), and one that is not up is made up for
// the moment before. What the device delivers in that moment is the question that the
// front-end waits to be answered.
//
// vvudev's device, which has a link, knows of its front-ends in any state. It would have to
// hang up on one that it admits for that moment.
func (d *Device) reset() error {
	if d.transport.InReset() {
		return nil
	}
	if d.transport.Absent() || d.status()&statusDriverUp != 0 || d.transport.Offered().Has(featureLink) {
		return d.transport.Reset()
	}
	d.messages.drain() // of a session that is over
	d.setUp(true)
	err := d.transport.Reset()
	if late := d.messages.drain(); len(late) > 0 {
		d.messages.saved = late
	}
	return err
}

// allOnes is what a 32-bit register of a device reads as that is not there.
const allOnes = ^uint32(0)

// absent reports whether the device is gone: the program that provides it has ended, or it
// was pulled out.
func (d *Device) absent() bool { return d.transport.Absent() }

func (d *Device) errAbsent() error { return fmt.Errorf("%s: %w", d.name, virtiopci.ErrAbsent) }

// needsReset reports whether the device has given up (DEVICE_NEEDS_RESET).
func (d *Device) needsReset() bool { return d.transport.Status()&virtio.StatusNeedsReset != 0 }

// Notification registers (draft, "Notifications"): 16-bit accesses only.
const (
	regNotifySelect = 0
	regNotifyVector = 2
)

// setKickVectors directs the guest's kicks to our vectors. The device forgets
// them when a front-end disconnects; without a vector a kick is lost.
func (d *Device) setKickVectors() error {
	for ring := range d.rings() {
		want := vectorFirstKick + ring
		d.vectors.Store16(regNotifySelect, ring)
		d.vectors.Store16(regNotifyVector, want)
		if got := d.vectors.Load16(regNotifyVector); got != want {
			return &pci.DeviceError{Device: d.name,
				Problem: fmt.Sprintf("refused MSI-X vector %d for kicks of vring %d", want, ring),
				Remedy:  "start the device with more vectors"}
		}
	}
	return nil
}

// clearKickVectors takes the vectors away, so that a later driver does not meet
// stale ones.
func (d *Device) clearKickVectors() {
	for ring := range d.rings() {
		d.vectors.Store16(regNotifySelect, ring)
		d.vectors.Store16(regNotifyVector, virtio.NoVector)
	}
}

// status reads the connection status with one 32-bit access.
func (d *Device) status() uint32 { return d.config.Load32(cfgStatus) }

// setUp tells the device whether we are ready for a front-end.
func (d *Device) setUp(up bool) {
	var v uint32
	if up {
		v = statusDriverUp
	}
	d.config.Store32(cfgStatus, v)
}

// setLink takes the link of the front-end's device down or up again, or returns false if
// the device cannot. Taking it down ends the session. A reset takes it up.
func (d *Device) setLink(up bool) bool {
	if d.hasLink {
		var v uint32
		if up {
			v = 1
		}
		d.config.Store32(cfgLink, v)
	}
	return d.hasLink
}

// MaxQueues is the number of vrings that the device can connect.
func (d *Device) MaxQueues() uint32 { return d.config.Load32(cfgMaxQueues) }

// KickFD is the eventfd that becomes readable when the guest kicks a vring that is
// served.
func (d *Device) KickFD(ring int) int { return d.pci.Vector(vectorFirstKick + ring) }

// Close stops the device: nothing reaches our memory afterwards. One that is gone is left
// alone.
func (d *Device) Close() error {
	if d.absent() {
		return nil
	}
	d.clearKickVectors()
	return d.reset()
}

// doorbell interrupts the guest for one vring. Ring is safe for concurrent use.
type doorbell struct {
	space mmio.Space
	off   uint64
	ring  uint16
}

// Ring stores the vring's number, two bytes wide: QEMU's device connects just
// that width to the guest's interrupt without leaving the kernel.
func (b *doorbell) Ring() { b.space.Store16(b.off, b.ring) }

// Doorbell returns the doorbell of a vring that is served.
func (d *Device) Doorbell(ring int) guest.Doorbell {
	return &doorbell{space: d.doorbells, off: d.doorbellOffset(ring), ring: uint16(ring)}
}

func (d *Device) doorbellOffset(ring int) uint64 {
	return uint64(ring) * uint64(d.caps.DoorbellMultiplier)
}
