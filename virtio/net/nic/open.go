package virtionic

import (
	"fmt"
	"net"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
	"vvufwd/virtio/net/driver"
	virtiopci "vvufwd/virtio/pci"
	"vvufwd/virtio/vring"
)

// Device configuration (5.1.4), offsets in bytes.
const (
	cfgMAC      = 0  // 6 bytes
	cfgStatus   = 6  // u16, with NetStatus
	cfgMaxPairs = 8  // u16, with NetMQ
	cfgMTU      = 10 // u16, with NetMTU
)

// Vectors given to interrupt sources. The control queue has none, see commands.
const (
	vectorConfig    = 0
	vectorFirstPair = 1 // of its receive ring, the next is of its transmit ring, and so on
)

// wanted are the features that the NIC driver can use, offloads and several queue pairs aside. With CTRL_RX the device is
// told to filter nothing: frames are for all the addresses behind our other ports, be it
// one app VM or a switch of many. Without it monitors filter nothing; of hardware no one says.
const wanted = virtio.Version1 | virtio.NetMAC | virtio.NetStatus | virtio.NetMTU | virtio.NetMrgRxbuf | virtio.EventIdx |
	virtio.RingPacked

// PCIDevice is what the NIC driver needs of VFIO; *vfio.Device is one.
type PCIDevice interface {
	virtiopci.Device
	EnableBusMaster() error
	MSIXCount() int
	EnableMSIX(n int) error
	Vector(i int) int
}

// Allocator hands out memory that the device can reach.
type Allocator interface {
	Alloc(size, align int) (dma.Memory, error)
}

// queueMemory is an Allocator for queue pairs.
type queueMemory struct{ dma Allocator }

func (q queueMemory) Alloc(size, align int) (driver.Memory, error) {
	m, err := q.dma.Alloc(size, align)
	return driver.Memory{Bytes: m.Bytes, Addr: uint64(m.IOVA)}, err
}

// Device is a NIC on the PCI bus. Its methods belong to control, which is Watch and
// Spread, each with a goroutine of its own; the queue pairs belong to forwarders.
type Device struct {
	name      string
	pci       PCIDevice
	transport *virtiopci.Transport
	queues    []*driver.Port
	commands  *commands // nil if there is nothing to say

	linkAtStart bool

	Features virtio.Features  // negotiated
	MAC      net.HardwareAddr // nil if the device does not say
	MTU      int              // 0 if the device does not say
	Filters  error            // why the device may keep frames for other addresses from us; nil: it was told not to, or cannot be
}

// Config is what a device is opened with.
type Config struct {
	Memory    Allocator
	QueueSize int                          // most entries of a ring
	MaxPairs  int                          // most queue pairs
	OnFail    func(ring string, err error) // told once for each ring that breaks; it must not block
	Slow      func() (goOn bool)           // asked once a second while the device takes seconds to reset
}

// Open takes a virtio-net device from any state to running: reset, features, queue pairs, and all receive buffers
// posted. Frames arrive at the first queue pair until Spread says otherwise.
func Open(dev PCIDevice, cfg Config) (*Device, error) {
	transport, err := virtiopci.Open(dev, virtio.DeviceNet)
	if err != nil {
		return nil, err
	}
	if need := vectorFirstPair + 2; dev.MSIXCount() < need {
		return nil, &pci.DeviceError{Device: dev.Address().String(),
			Problem: fmt.Sprintf("has %d MSI-X vectors, %d are needed", dev.MSIXCount(), need), Remedy: fmt.Sprintf("start it with vectors=%d or more", need)}
	}
	// Reset first: rings of someone who was killed are not written to any more when DMA is allowed.
	if err = transport.ResetWhile(cfg.Slow); err != nil {
		return nil, err
	}
	if err = dev.EnableBusMaster(); err != nil {
		return nil, err
	}
	p := &Device{name: "virtio-net:" + dev.Address().String(), pci: dev, transport: transport}
	if err = p.open(cfg); err != nil {
		transport.Fail()
		return nil, err
	}
	return p, nil
}

func (p *Device) open(cfg Config) error {
	t := p.transport
	offered := t.Offered()
	most, err := p.mostPairs(offered)
	if err != nil {
		return err
	}
	pairs := min(most, cfg.MaxPairs, (p.pci.MSIXCount()-vectorFirstPair)/2)
	if err := p.pci.EnableMSIX(vectorFirstPair + 2*pairs); err != nil {
		return err
	}
	want := wanted | driver.WantedOffloads(offered, min(cfg.QueueSize, int(t.QueueMaxSize(0))))
	if pairs > 1 {
		want |= virtio.NetMQ | virtio.NetCtrlVQ
	}
	if filter := virtio.NetCtrlVQ | virtio.NetCtrlRX; offered.Has(filter) { // the one is void without the other (5.1.3.1)
		want |= filter
	}
	if p.Features, err = t.Negotiate(want); err != nil {
		return err
	}
	if err := p.readConfig(); err != nil {
		return err
	}
	var starts []func()
	for i := range pairs {
		start, err := p.setUpPair(i, cfg)
		if err != nil {
			return err
		}
		starts = append(starts, start)
	}
	if p.Features.Has(virtio.NetCtrlVQ) {
		q := 2 // 5.1.2
		if p.Features.Has(virtio.NetMQ) {
			q = 2 * most
		}
		if err := p.setUpCommands(uint16(q), cfg.Memory); err != nil && pairs > 1 {
			return err
		} else if err != nil {
			p.Filters = err // one queue pair works without
		}
	}
	if err := t.SetConfigVector(vectorConfig); err != nil {
		return err
	}
	t.DriverOK()
	if p.linkAtStart, err = p.Link(); err != nil {
		return err
	}
	if p.Features.Has(virtio.NetCtrlRX) && p.commands != nil {
		p.Filters = p.commands.do(classRX, rxPromisc, 1)
	}
	for _, start := range starts {
		start()
	}
	return nil
}

// mostPairs is how many queue pairs the device has. Its configuration can be read
// before features are accepted (3.1.1).
func (p *Device) mostPairs(offered virtio.Features) (int, error) {
	if !offered.Has(virtio.NetMQ | virtio.NetCtrlVQ) {
		return 1, nil
	}
	most, err := p.transport.ReadConfig16(cfgMaxPairs)
	if err == nil && (most < 1 || most >= 0x8000) { // 5.1.4.1, and there is a control queue after them
		err = &pci.DeviceError{Device: p.pci.Address().String(), Problem: fmt.Sprintf("announces %d queue pairs", most), Remedy: "start it with mq=off"}
	}
	return int(most), err
}

// readConfig reads what the device says of itself.
func (p *Device) readConfig() error {
	if p.Features.Has(virtio.NetMAC) {
		p.MAC = make(net.HardwareAddr, 6)
		if err := p.transport.ReadConfig(cfgMAC, p.MAC); err != nil {
			return err
		}
	}
	if p.Features.Has(virtio.NetMTU) {
		mtu, err := p.transport.ReadConfig16(cfgMTU)
		if err != nil {
			return err
		}
		if mtu < 68 { // 5.1.4.1
			return &pci.DeviceError{Device: p.pci.Address().String(), Problem: fmt.Sprintf("announces an MTU of %d", mtu), Remedy: "give it one of at least 68"}
		}
		p.MTU = int(mtu)
	}
	return nil
}

// setUpPair sets queue pair i up. What it returns starts it, once the device runs.
func (p *Device) setUpPair(i int, cfg Config) (start func(), err error) {
	t := p.transport
	rx, tx := uint16(2*i), uint16(2*i+1)
	pair := driver.Config{
		Name: p.name, Features: p.Features, MTU: p.MTU, OnFail: cfg.OnFail,
		RxSize: min(cfg.QueueSize, int(t.QueueMaxSize(rx))), TxSize: min(cfg.QueueSize, int(t.QueueMaxSize(tx))),
		WakeFDs: []int{p.pci.Vector(vectorFirstPair + int(rx)), p.pci.Vector(vectorFirstPair + int(tx))},
	}
	if i > 0 {
		pair.Name = fmt.Sprintf("%s/q%d", p.name, i)
	}
	nic, err := driver.New(pair, queueMemory{cfg.Memory})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pair.Name, err)
	}
	rxRing, txRing := nic.Rings()
	rxNotify, err := p.setUpQueue(rx, rxRing, vectorFirstPair+rx)
	if err != nil {
		return nil, err
	}
	txNotify, err := p.setUpQueue(tx, txRing, vectorFirstPair+tx)
	if err != nil {
		return nil, err
	}
	p.queues = append(p.queues, nic)
	return func() { nic.Start(rxNotify, txNotify) }, nil
}

// setUpQueue tells the device where a ring is.
func (p *Device) setUpQueue(q uint16, ring *vring.Driver, vector uint16) (*virtiopci.Notifier, error) {
	desc, avail, used := ring.Addresses()
	return p.transport.SetupQueue(q, virtiopci.QueueConfig{
		Size: uint16(ring.Size()), Vector: vector, Packed: p.Features.Has(virtio.RingPacked),
		Desc: dma.IOVA(desc), Avail: dma.IOVA(avail), Used: dma.IOVA(used),
	})
}

// Name identifies the NIC in logs.
func (p *Device) Name() string { return p.name }

// Queues are the NIC's queue pairs.
func (p *Device) Queues() []*driver.Port { return p.queues }

// Close resets the device: it stops reading and writing our memory. One that is gone is
// left alone.
func (p *Device) Close() error {
	if p.transport.Absent() {
		return nil
	}
	return p.transport.Reset()
}
