package device

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"vvufwd/virtio"
	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vfiouser"
)

// Config is what a Device is made of.
type Config struct {
	RAM    *RAMFile // stays the caller's, who closes it after the Device
	Queues int      // vrings that can be connected (max_vhost_queues), 1 to MaxQueues
	UUID   [16]byte
	Log    *zap.Logger
	// OnLink, if not nil, is called whenever LinkDown may have changed. It must not wait.
	OnLink func()
}

// Device is a virtio-vhost-user device. It is a vfiouser.Device on one side, and
// on the other ServeFrontends takes the front-end's connections. All of its
// methods may be called concurrently.
type Device struct {
	ram    *RAMFile
	log    *zap.Logger
	layout layout
	uuid   [16]byte
	events *peerfd.Set
	bin    peerfd.Bin // for descriptors of front-ends
	onLink func()
	kicks  *watcher

	mu       sync.Mutex // released by unlock only
	cond     *sync.Cond // on mu: queues, connection, or both have changed; see wait
	deferred deferred

	pci   *vfiouser.Config
	table []byte        // MSI-X table; the monitor keeps its own
	host  vfiouser.Host // nil while no driver VM is there

	// Virtio state, all zero after a reset but for the vectors.
	status       uint8
	isr          uint8
	generation   uint8
	offerSelect  uint32
	driverSelect uint32
	features     virtio.Features // the driver's choice
	configVector uint16
	queueSelect  uint16
	queues       [2]queue

	// The device's own registers.
	driverUp     bool     // SLAVE_UP
	linkDown     bool     // see setLink
	session      *session // the front-end on the socket, nil if there is none
	rings        []peerRing
	notifySelect uint16

	// What a timer does soon: there is one for each, whatever the driver does.
	dropping bool // dropReplies goes on
	retrying bool // queues whose memory is not mapped are looked for again
}

// peerRing is one vring of the front-end's device. Its notifiers belong to the
// session, its vector to the driver.
type peerRing struct {
	vector uint16        // for kicks
	kick   *peerfd.Event // nil if there is none
	serial int32         // counts kick notifiers
	kicked bool          // a kick found no vector
	call   *peerfd.Event
	err    *peerfd.Event
}

var _ vfiouser.Device = (*Device)(nil)

// offered are the features of the message queues, and of the device. Behind an IOMMU or not, what
// the driver writes are addresses that the monitor has mapped for the device.
const offered = virtio.Version1 | virtio.AccessPlatform | virtio.IndirectDesc | virtio.EventIdx | featureLink

// New builds a device that no driver VM has yet.
func New(cfg Config) (*Device, error) {
	if cfg.Queues < 1 || cfg.Queues > MaxQueues {
		return nil, fmt.Errorf("%d vrings, want 1 to %d", cfg.Queues, MaxQueues)
	}
	l := newLayout(cfg.Queues, cfg.RAM.size)
	pci, err := newConfigSpace(l, cfg.RAM.size)
	if err != nil {
		return nil, err
	}
	d := &Device{
		ram: cfg.RAM, log: cfg.Log, layout: l, uuid: cfg.UUID, pci: pci,
		table: make([]byte, 16*l.vectors), rings: make([]peerRing, cfg.Queues), onLink: cfg.OnLink,
	}
	d.cond = sync.NewCond(&d.mu)
	if d.kicks, err = newWatcher(d.kicked); err != nil {
		return nil, err
	}
	if d.events, err = peerfd.NewSet(); err != nil {
		d.log.Warn("without asynchronous I/O, interrupts of the app VM are slower", zap.Error(err))
	}
	d.resetAll(nil) // there is no session to end
	return d, nil
}

// Close ends the front-end's session. The servers must have stopped.
func (d *Device) Close() error {
	d.mu.Lock()
	d.end(d.session, errors.New("the device is closed"), false)
	d.unlock()
	d.kicks.close()
	d.events.Close()
	return nil
}

// Vectors implements vfiouser.Device.
func (d *Device) Vectors() int { return d.layout.vectors }

// Region implements vfiouser.Device.
func (d *Device) Region(index int) vfiouser.Region {
	switch index {
	case barMSIX:
		return vfiouser.Region{Size: d.layout.msix}
	case barResources:
		return vfiouser.Region{Size: resourcesLength}
	case barMemory:
		return vfiouser.Region{Size: d.layout.memory, FD: int(d.ram.file.Fd()), Areas: []vfiouser.Area{{Size: d.ram.size}}}
	case barVirtio:
		return vfiouser.Region{Size: virtioLength}
	case vfiouser.RegionConfig:
		return vfiouser.Region{Size: vfiouser.ConfigSize}
	}
	return vfiouser.Region{}
}

// Attach implements vfiouser.Device: a driver VM is there.
func (d *Device) Attach(h vfiouser.Host) {
	d.mu.Lock()
	defer d.unlock()
	d.resetAll(errors.New("a driver VM was started"))
	d.host = h
}

// Detach implements vfiouser.Device: the driver VM is gone.
func (d *Device) Detach() {
	d.mu.Lock()
	defer d.unlock()
	d.resetAll(errors.New("the driver VM is gone"))
	d.host = nil
}

// Reset implements vfiouser.Device: a reset of the PCI function.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.unlock()
	d.resetAll(errors.New("the driver VM or its driver reset the function"))
}

// MemoryChanged implements vfiouser.Device. The queues are looked up again in the
// changed memory when they are next used.
func (d *Device) MemoryChanged() {
	d.mu.Lock()
	defer d.unlock()
	for i := range d.queues {
		d.queues[i].release()
		d.queues[i].lost = time.Time{}
	}
}

// resetAll is a reset of the PCI function; mu is held. A session ends with reason.
func (d *Device) resetAll(reason error) {
	d.pci.Reset()
	clear(d.table)
	for v := 0; v < d.layout.vectors; v++ {
		d.table[16*v+12] = 1 // vectors start masked (PCI 3.0, 6.8.2.9)
	}
	d.reset(reason)
}

// reset is a virtio reset; mu is held. A connected front-end loses its session:
// the driver that knew its state is gone. One that was not heard yet stays.
func (d *Device) reset(reason error) {
	if d.connected() {
		d.end(d.session, reason, false)
	}
	d.driverUp = false
	d.changeLink(false)
	d.status, d.isr = 0, 0
	d.offerSelect, d.driverSelect, d.features = 0, 0, 0
	d.configVector = virtio.NoVector
	d.queueSelect, d.notifySelect = 0, 0
	for i := range d.queues {
		d.queues[i] = queue{size: queueSize, vector: virtio.NoVector}
	}
	for i := range d.rings {
		d.rings[i].vector, d.rings[i].kicked = virtio.NoVector, false
	}
	d.cond.Broadcast()
}

// needsReset gives up until the driver resets the device (virtio 1.3, 2.1.1);
// mu is held.
func (d *Device) needsReset(reason error) {
	if d.broken() {
		return
	}
	d.log.Error("the driver violated the protocol, the device is stopped until it is reset", zap.Error(reason))
	d.status |= virtio.StatusNeedsReset
	if d.connected() {
		d.end(d.session, errors.New("the device needs a reset"), false)
	}
	d.driverUp = false
	d.configChanged()
}

func (d *Device) broken() bool { return d.status&virtio.StatusNeedsReset != 0 }

// configChanged tells the driver to look at device configuration; mu is held.
func (d *Device) configChanged() {
	d.generation++
	if d.status&virtio.StatusDriverOK != 0 {
		d.isr |= isrQueue | isrConfig // both, as the fork does
		d.interrupt(d.configVector)
	}
	d.cond.Broadcast()
}

// validVector is what a vector register keeps of a written value: a vector that
// the device does not have reads back as none (virtio 1.3, 4.1.5.1.2).
func (d *Device) validVector(v uint16) uint16 {
	if int(v) >= d.layout.vectors {
		return virtio.NoVector
	}
	return v
}
