package tap

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	virtionet "vvufwd/virtio/net"
)

// device is a netdev.Interface.
type device struct {
	wires  []netdev.Wire
	name   string // for one that comes back: what it was called last
	multi  bool
	leave  leave
	socket int
	mtu    int   // bytes, when it was last seen
	index  int32 // that it had then in the namespace of socket

	elsewhere bool      // socket is of the network namespace that the interface has for itself
	follows   *follower // the guest's address, see there; nil: the address stays
}

// New makes an interface of the queues of a device. They are its own from then on, also if
// it fails.
func New(files []*os.File) (netdev.Interface, error) {
	d := &device{socket: -1}
	var errs []error
	for _, f := range files {
		fd, err := netdev.Take(f)
		if errs = append(errs, err); err != nil {
			continue
		}
		if isSocket(fd) {
			d.socket = fd // of the namespace of an interface that was made here
		} else {
			d.wires = append(d.wires, &wire{fd: fd})
		}
	}
	if err := errors.Join(append(errs, d.start())...); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *device) start() (err error) {
	d.elsewhere = d.socket >= 0
	if !d.elsewhere {
		if d.socket, err = netdev.Socket(); err != nil {
			return err
		}
	}
	if len(d.wires) == 0 {
		return errors.New("no queue was handed over")
	}
	r, err := d.ask()
	if err != nil {
		return err
	}
	if d.elsewhere && modeOf(d.name) != Passthrough {
		if err := d.follow(); err != nil {
			return err
		}
	}
	d.multi = r.Flags()&unix.IFF_MULTI_QUEUE != 0
	return d.negotiate(leaves)
}

// ask asks for name and flags.
func (d *device) ask() (netdev.Request, error) {
	r := netdev.Named("")
	err := r.Ask(d.wires[0].FD(), unix.TUNGETIFF)
	if err == nil {
		d.name = r.Name()
	}
	return r, err
}

// negotiate says how frames are to look, with the first of these offloads that the kernel has.
func (d *device) negotiate(list []leave) error {
	for _, w := range d.wires {
		if err := unix.IoctlSetPointerInt(w.FD(), unix.TUNSETVNETHDRSZ, headerLen); err != nil {
			return fmt.Errorf("interface %s: set the length of headers: %w", d.name, err)
		}
	}
	left, err := negotiate(func(flags int) (err error) {
		for _, w := range d.wires {
			err = errors.Join(err, unix.IoctlSetInt(w.FD(), unix.TUNSETOFFLOAD, flags))
		}
		return err
	}, list)
	if err != nil {
		return fmt.Errorf("interface %s: set offloads: %w", d.name, err)
	}
	d.leave = left
	return nil
}

// Queues is netdev.Interface's.
func (d *device) Queues(name string, c *netdev.Condition) ([]netdev.Queue, error) {
	return netdev.OverWires(name, c, d)
}

// Wires is netdev.Wired's.
func (d *device) Wires() []netdev.Wire { return d.wires }

// Offloads is netdev.Wired's. A kernel takes what it leaves.
func (d *device) Offloads() (leaves, takes virtionet.Offloads) {
	return d.leave.offloads | virtionet.OffloadDataValid, d.leave.offloads
}

// Events is netdev.Elsewhere's.
func (d *device) Events() (*os.File, error) {
	if !d.elsewhere {
		return nil, nil
	}
	fd, err := unix.FcntlInt(uintptr(d.socket), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// Prompts is netdev.Elsewhere's.
func (d *device) Prompts() <-chan struct{} {
	if d.follows == nil {
		return nil
	}
	return d.follows.prompts
}

// Look is netdev.Interface's.
func (d *device) Look() (netdev.State, error) {
	if d.follows != nil {
		d.follows.look(d.wires[0].FD(), time.Now())
	}
	s, err := netdev.QueryNamed(d.socket, func() (string, error) {
		_, err := d.ask()
		return d.name, err
	})
	if errors.Is(err, netdev.ErrRenaming) && d.apart() {
		return netdev.State{Name: d.name, Up: true, Runs: true, MTU: d.mtu, Apart: true}, nil
	}
	if err != nil {
		return s, err
	}
	d.mtu = s.MTU
	if r := netdev.Named(s.Name); r.Ask(d.socket, unix.SIOCGIFINDEX) == nil {
		d.index = r.Int()
	}
	return s, nil
}

// apart reports whether a device that has no name in the namespace of socket is not there at all: someone has moved it to
// another one. Its queues go on there as they were.
func (d *device) apart() bool {
	r := netdev.Named("")
	r.SetInt(d.index)
	return d.index != 0 && errors.Is(r.Ask(d.socket, unix.SIOCGIFNAME), unix.ENODEV)
}

// Return is netdev.Interface's. To attach to a device that someone else has made takes no
// capability if it has no owner, or that is us. It makes none.
func (d *device) Return() error {
	if _, err := netdev.Query(d.socket, d.name); err != nil {
		return err
	}
	for _, w := range d.wires {
		if err := attach(w.FD(), d.name, d.multi); err != nil && !errors.Is(err, unix.EEXIST) {
			return explain(d.name, true, err)
		}
	}
	return d.negotiate([]leave{d.leave}) // the queue pairs go by that
}

// Dropped is netdev.Interface's: the kernel counts them at the interface only (ip -s link).
func (d *device) Dropped() (n uint64, known bool) { return 0, false }

// Close is netdev.Interface's.
func (d *device) Close() error {
	var errs []error
	for _, w := range d.wires {
		errs = append(errs, unix.Close(w.FD()))
	}
	if d.socket >= 0 {
		errs = append(errs, unix.Close(d.socket))
	}
	return errors.Join(errs...)
}

// isSocket reports whether a descriptor is one.
func isSocket(fd int) bool {
	var s unix.Stat_t
	return unix.Fstat(fd, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFSOCK
}
