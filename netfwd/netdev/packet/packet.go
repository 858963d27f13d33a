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
	wires []*wire
	name  string // what it was called last

	address [6]byte // that it had last
	uso     bool    // the kernel knows of UDP segmentation

	mu      sync.Mutex
	dropped []uint64 // by wire
}

// New makes an interface of sockets, which are its own from then on, also if it fails.
func New(files []*os.File) (netdev.Interface, error) {
	d := &device{dropped: make([]uint64, len(files)/2)}
	var errs []error
	var fds []int
	for _, f := range files {
		fd, err := netdev.Take(f)
		fds, errs = append(fds, fd), append(errs, err)
	}
	for i := 0; i+1 < len(fds); i += 2 {
		d.wires = append(d.wires, newWire(fds[i], fds[i+1]))
	}
	if len(d.wires) == 0 {
		errs = append(errs, errors.New("no socket was handed over"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *device) start() error {
	if _, err := d.find(); err != nil {
		return err
	}
	for _, w := range d.wires {
		for _, fd := range []int{w.fd, w.reserve} {
			// Kernels that know of this option, since 6.4, know of UDP segmentation too, since 6.2.
			if d.uso = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR_SZ, headerLen) == nil; d.uso {
				continue
			}
			if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
				return fmt.Errorf("interface %s: have headers with frames: %w", d.name, err)
			}
		}
		if err := w.ring.open(w.fd); err != nil {
			return fmt.Errorf("interface %s: %w", d.name, err)
		}
	}
	return nil
}

// find finds the index of the interface, and its name, which may have changed. All sockets
// have to be bound to it.
func (d *device) find() (index int, err error) {
	for _, w := range d.wires {
		address, err := unix.Getsockname(w.FD())
		if err != nil {
			return 0, err
		}
		a, ok := address.(*unix.SockaddrLinklayer)
		if !ok || a.Ifindex <= 0 || index > 0 && a.Ifindex != index {
			return 0, unix.ENODEV
		}
		index, d.address = a.Ifindex, [6]byte(a.Addr[:])
	}
	r := netdev.Named("")
	r.SetInt(int32(index))
	if err := r.Ask(d.socket(), unix.SIOCGIFNAME); err != nil {
		return 0, err
	}
	d.name = r.Name()
	return index, nil
}

// socket is one through which the kernel can be asked.
func (d *device) socket() int { return d.wires[0].FD() }

// Queues is netdev.Interface's.
func (d *device) Queues(name string, c *netdev.Condition) ([]netdev.Queue, error) {
	return netdev.OverWires(name, c, d)
}

// Wires is netdev.Wired's.
func (d *device) Wires() (wires []netdev.Wire) {
	for _, w := range d.wires {
		wires = append(wires, w)
	}
	return wires
}

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
	for _, w := range d.wires {
		_, _ = unix.GetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		_, _ = unix.GetsockoptInt(w.reserve, unix.SOL_SOCKET, unix.SO_ERROR)
	}
	s, err := netdev.QueryNamed(d.socket(), func() (string, error) {
		_, err := d.find()
		return d.name, err
	})
	s.Address = d.address
	if err == nil && s.Up {
		err = d.oversee()
	}
	return s, err
}

// oversee finds rings that the kernel does not use any more.
func (d *device) oversee() error {
	d.Dropped()
	for i, w := range d.wires {
		if w.resorted.Load() || !w.isStuck(d.dropped[i]) {
			continue
		}
		if err := w.resort(d.name); err != nil {
			return err
		}
	}
	return nil
}

// Return is netdev.Interface's: sockets can be bound again to an interface of that name.
func (d *device) Return() error {
	for _, w := range d.wires {
		if err := bind(w.fd, d.name); err != nil {
			return err
		}
		if !w.resorted.Load() {
			continue
		}
		if err := bind(w.reserve, d.name); err != nil {
			return err
		}
	}
	return nil
}

// Dropped is netdev.Interface's.
func (d *device) Dropped() (n uint64, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, w := range d.wires {
		for _, fd := range []int{w.fd, w.reserve} {
			s, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS) // since the last time
			if err == nil {
				d.dropped[i] += uint64(s.Drops)
			}
		}
		n += d.dropped[i] + w.ring.short.Load()
	}
	return n, true
}

// Close is netdev.Interface's.
func (d *device) Close() error {
	var errs []error
	for _, w := range d.wires {
		errs = append(errs, w.ring.close(), unix.Close(w.fd), unix.Close(w.reserve))
	}
	return errors.Join(errs...)
}
