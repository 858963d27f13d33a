package packet

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// device is a netdev.Interface.
type device struct {
	wire *wire
	name string // what it was called last

	address [6]byte // that it had last
	uso     bool    // the kernel knows of UDP segmentation

	mu      sync.Mutex
	dropped uint64
}

// New makes an interface of a socket, which is its own from then on, also if it fails.
func New(files []*os.File) (netdev.Interface, error) {
	fd, err := netdev.Take(files[0])
	if err != nil {
		return nil, err
	}
	d := &device{wire: newWire(fd)}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *device) start() error {
	if _, err := d.find(); err != nil {
		return err
	}
	// Kernels that know of this option, since 6.4, know of UDP segmentation too, since 6.2.
	if d.uso = unix.SetsockoptInt(d.wire.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR_SZ, headerLen) == nil; d.uso {
		return nil
	}
	if err := unix.SetsockoptInt(d.wire.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return fmt.Errorf("interface %s: have headers with frames: %w", d.name, err)
	}
	return nil
}

// find finds the index of the interface, and its name, which may have changed.
func (d *device) find() (index int, err error) {
	address, err := unix.Getsockname(d.wire.fd)
	if err != nil {
		return 0, err
	}
	a, ok := address.(*unix.SockaddrLinklayer)
	if !ok || a.Ifindex <= 0 {
		return 0, unix.ENODEV
	}
	r := netdev.Named("")
	r.SetIndex(int32(a.Ifindex))
	if err := r.Ask(d.wire.fd, unix.SIOCGIFNAME); err != nil {
		return 0, err
	}
	d.name, d.address = r.Name(), [6]byte(a.Addr[:])
	return a.Ifindex, nil
}

// Queues is netdev.Interface's.
func (d *device) Queues(name string, c *netdev.Condition) ([]netdev.Queue, error) {
	return netdev.OverWires(name, c, d)
}

// Wires is netdev.Wired's.
func (d *device) Wires() []netdev.Wire { return []netdev.Wire{d.wire} }

// Offloads is netdev.Wired's. The kernel cuts and completes what the interface does not.
func (d *device) Offloads() (leaves, takes virtionet.Offloads) {
	takes = virtionet.OffloadCsum | virtionet.OffloadTSO4 | virtionet.OffloadTSO6 | virtionet.OffloadECN
	leaves = takes | virtionet.OffloadUSO4 | virtionet.OffloadUSO6 | virtionet.OffloadDataValid
	if d.uso {
		takes |= virtionet.OffloadUSO4 | virtionet.OffloadUSO6
	}
	return leaves, takes
}

// Look is netdev.Interface's.
func (d *device) Look() (netdev.State, error) {
	// That it was down is no news any more: the next read shall not fail for it.
	_, _ = unix.GetsockoptInt(d.wire.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	s, err := netdev.QueryNamed(d.wire.fd, func() (string, error) {
		_, err := d.find()
		return d.name, err
	})
	s.Address = d.address
	return s, err
}

// Return is netdev.Interface's: a socket can be bound again to an interface of that name.
func (d *device) Return() error { return bind(d.wire.fd, d.name) }

// Dropped is netdev.Interface's.
func (d *device) Dropped() (n uint64, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := unix.GetsockoptTpacketStats(d.wire.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS) // since the last time
	if err == nil {
		d.dropped += uint64(s.Drops)
	}
	return d.dropped, true
}

// Close is netdev.Interface's.
func (d *device) Close() error { return unix.Close(d.wire.fd) }
