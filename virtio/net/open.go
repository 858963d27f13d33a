package virtionet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
	virtiopci "vvufwd/virtio/pci"
)

// Device configuration (5.1.4), offsets in bytes.
const (
	cfgMAC    = 0  // 6 bytes
	cfgStatus = 6  // u16, with NetStatus
	cfgMTU    = 10 // u16, with NetMTU

	statusLinkUp = 1 << 0
)

// Queues and the vectors given to interrupt sources.
const (
	queueRx = 0
	queueTx = 1

	vectorConfig = 0
	vectorRx     = 1
	vectorTx     = 2
	vectors      = 3
)

// wanted are the features that the NIC driver can use, offloads aside. There is no CTRL_RX among
// them, and there must not be without control of it: a device that did not negotiate
// it filters nothing (5.1.6.5.1) and delivers frames for all the addresses behind our
// other ports, be it one app VM or a switch of many.
const wanted = virtio.Version1 | virtio.NetMAC | virtio.NetStatus | virtio.NetMTU | virtio.NetMrgRxbuf | virtio.EventIdx |
	virtio.RingPacked

// wantedOffloads are those that the driver can use with a device that offers these
// features and with that many entries in its receive ring. A device may only merge
// segments if the buffers can hold what it makes of them.
func wantedOffloads(offered virtio.Features, rxSize int) virtio.Features {
	want := virtio.NetOffloads
	if !offered.Has(virtio.NetMrgRxbuf) || rxSize*smallBuffer < HeaderLen+MaxFrame {
		want &^= virtio.NetGuestTSO4 | virtio.NetGuestTSO6 | virtio.NetGuestECN | virtio.NetGuestUSO4 | virtio.NetGuestUSO6
	}
	return withoutOrphans(offered & want)
}

// withoutOrphans takes away the features that lack one on which they rely (5.1.3.1); a
// driver must not ask for those.
func withoutOrphans(f virtio.Features) virtio.Features {
	const (
		hostTSO  = virtio.NetHostTSO4 | virtio.NetHostTSO6
		guestTSO = virtio.NetGuestTSO4 | virtio.NetGuestTSO6
	)
	if !f.Has(virtio.NetCsum) {
		f &^= hostTSO | virtio.NetHostUSO
	}
	if !f.Has(virtio.NetGuestCsum) {
		f &^= guestTSO | virtio.NetGuestUSO4 | virtio.NetGuestUSO6
	}
	if f&hostTSO == 0 {
		f &^= virtio.NetHostECN
	}
	if f&guestTSO == 0 {
		f &^= virtio.NetGuestECN
	}
	return f
}

// PCIDevice is what the NIC driver needs of VFIO; *vfio.Device is one.
type PCIDevice interface {
	virtiopci.Device
	EnableBusMaster() error
	MSIXCount() int
	EnableMSIX(n int) error
	Vector(i int) int
}

// PCINIC is a NIC on the PCI bus. Watch and Close belong to control, the rest to
// the forwarder, see NIC.
type PCINIC struct {
	*NIC
	pci       PCIDevice
	transport *virtiopci.Transport

	Features virtio.Features  // negotiated
	MAC      net.HardwareAddr // nil if the device does not say
	MTU      int              // 0 if the device does not say
}

// OpenNIC takes a virtio-net device from any state to running: reset, features,
// rings of at most queueSize entries with all receive buffers posted. onFail is
// told once for each ring that breaks; it must not block.
func OpenNIC(dev PCIDevice, alloc Allocator, queueSize int, onFail func(ring string, err error)) (*PCINIC, error) {
	transport, err := virtiopci.Open(dev, virtio.DeviceNet)
	if err != nil {
		return nil, err
	}
	if n := dev.MSIXCount(); n < vectors {
		return nil, &pci.DeviceError{Device: dev.Address().String(),
			Problem: fmt.Sprintf("has %d MSI-X vectors, %d are needed", n, vectors), Remedy: fmt.Sprintf("start it with vectors=%d or more", vectors)}
	}
	if err = dev.EnableBusMaster(); err != nil {
		return nil, err
	}
	if err = dev.EnableMSIX(vectors); err != nil {
		return nil, err
	}
	if err = transport.Reset(); err != nil {
		return nil, err
	}
	p := &PCINIC{pci: dev, transport: transport}
	rxSize := min(queueSize, int(transport.QueueMaxSize(queueRx)))
	if p.Features, err = transport.Negotiate(wanted | wantedOffloads(transport.Offered(), rxSize)); err != nil {
		return nil, err
	}
	if err = p.bringUp(alloc, queueSize, onFail); err != nil {
		transport.Fail()
		return nil, err
	}
	return p, nil
}

func (p *PCINIC) bringUp(alloc Allocator, queueSize int, onFail func(ring string, err error)) error {
	t := p.transport
	if p.Features.Has(virtio.NetMAC) {
		p.MAC = make(net.HardwareAddr, 6)
		if err := t.ReadConfig(cfgMAC, p.MAC); err != nil {
			return err
		}
	}
	if p.Features.Has(virtio.NetMTU) {
		mtu, err := t.ReadConfig16(cfgMTU)
		if err != nil {
			return err
		}
		if mtu < 68 { // 5.1.4.1
			return &pci.DeviceError{Device: p.pci.Address().String(), Problem: fmt.Sprintf("announces an MTU of %d", mtu), Remedy: "give it one of at least 68"}
		}
		p.MTU = int(mtu)
	}
	cfg := NICConfig{
		Name: "virtio-net:" + p.pci.Address().String(), Features: p.Features, MTU: p.MTU, OnFail: onFail,
		RxSize: min(queueSize, int(t.QueueMaxSize(queueRx))), TxSize: min(queueSize, int(t.QueueMaxSize(queueTx))),
	}
	var err error
	if p.NIC, err = newNIC(cfg, alloc); err != nil {
		return fmt.Errorf("%s: %w", cfg.Name, err)
	}
	var notify [2]*virtiopci.Notifier
	for q, ring := range map[uint16]struct {
		size    int
		vector  uint16
		address func() (desc, avail, used uint64)
	}{
		queueRx: {cfg.RxSize, vectorRx, p.rx.Addresses},
		queueTx: {cfg.TxSize, vectorTx, p.tx.Addresses},
	} {
		desc, avail, used := ring.address()
		notify[q], err = t.SetupQueue(q, virtiopci.QueueConfig{
			Size: uint16(ring.size), Vector: ring.vector, Packed: p.Features.Has(virtio.RingPacked),
			Desc: dma.IOVA(desc), Avail: dma.IOVA(avail), Used: dma.IOVA(used),
		})
		if err != nil {
			return err
		}
	}
	if err = t.SetConfigVector(vectorConfig); err != nil {
		return err
	}
	t.DriverOK()
	up, err := p.Link()
	if err != nil {
		return err
	}
	p.SetLink(up)
	p.start(notify[queueRx], notify[queueTx])
	return nil
}

// WakeFDs are the eventfds that become readable when the device has filled
// receive buffers or sent frames, as far as it was asked to tell.
func (p *PCINIC) WakeFDs() []int { return []int{p.pci.Vector(vectorRx), p.pci.Vector(vectorTx)} }

// Link reads whether the NIC has a link: always, if it cannot tell.
func (p *PCINIC) Link() (up bool, err error) {
	if !p.Features.Has(virtio.NetStatus) {
		return true, nil
	}
	status, err := p.transport.ReadConfig16(cfgStatus)
	return status&statusLinkUp != 0, err
}

// ErrNICBroken says that the device has asked for a reset, which it only does
// when it is out of order.
var ErrNICBroken = errors.New("the device has given up (DEVICE_NEEDS_RESET)")

// Watch follows the link until ctx is done; changed is called after each change.
// It returns early, with ErrNICBroken, when the device gives up.
func (p *PCINIC) Watch(ctx context.Context, changed func(up bool)) error {
	last := !p.linkDown.Load()
	fds := []unix.PollFd{{Fd: int32(p.pci.Vector(vectorConfig)), Events: unix.POLLIN}}
	var buf [8]byte
	for ctx.Err() == nil {
		// The interrupt brings news at once; the timeout brings the end of ctx, and
		// news whose interrupt was lost.
		if n, _ := unix.Poll(fds, int(250*time.Millisecond/time.Millisecond)); n > 0 {
			unix.Read(int(fds[0].Fd), buf[:])
		}
		if p.transport.Status()&virtio.StatusNeedsReset != 0 {
			return fmt.Errorf("%s: %w", p.Name(), ErrNICBroken)
		}
		up, err := p.Link()
		if err != nil {
			return err
		}
		if up != last {
			last = up
			p.SetLink(up)
			changed(up)
		}
	}
	return nil
}

// Close resets the device: it stops reading and writing our memory.
func (p *PCINIC) Close() error { return p.transport.Reset() }
