package xdp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// Reopen is Open for an interface that vanished and is back, by someone with privileges.
type Reopen func() ([]*os.File, error)

// device is a netdev.Interface.
type device struct {
	opened
	first  string // what the interface is called when it is back
	reopen Reopen
	socket int // to ask for the interface
	queues []*Queue
	lost   error // why the sockets are of no use, until Return
	spoilt bool  // the same, for as long as the interface is there

	leaving []*socket // that are to be closed before the interface is opened again

	mu      sync.Mutex // guards what follows, and the sockets' counters
	current []*socket  // by queue
	dropped uint64     // by those before
}

// opened is what Open has opened, taken over.
type opened struct {
	properties
	kept    []*os.File // that have to stay open
	sockets []*socket
}

// New makes an interface of what Open has opened. The files are its own from then on, also if it
// fails.
func New(files []*os.File, reopen Reopen) (netdev.Interface, error) {
	o, err := take(files)
	if err != nil {
		return nil, err
	}
	d := &device{opened: o, first: o.Name, reopen: reopen, current: o.sockets}
	if d.socket, err = netdev.Socket(); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return d, nil
}

// The files that come before a socket and a umem for each queue.
const (
	fileProperties = iota
	fileLink
	filePromiscuous
	fileSockets
)

// take takes over what Open has opened. The files are closed if it fails.
func take(files []*os.File) (o opened, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close(), closeAll(files))
		}
	}()
	if len(files) < fileSockets+2 || (len(files)-fileSockets)%2 != 0 {
		return o, fmt.Errorf("%d files were handed over", len(files))
	}
	text, err := io.ReadAll(io.NewSectionReader(files[fileProperties], 0, 1<<16))
	if err == nil {
		err = json.Unmarshal(text, &o.properties)
	}
	if err != nil {
		return o, fmt.Errorf("read what was agreed upon: %w", err)
	}
	if pairs := (len(files) - fileSockets) / 2; pairs != o.Queues {
		return o, fmt.Errorf("sockets for %d of %d queues were handed over", pairs, o.Queues)
	}
	o.kept = files[:fileSockets]
	queue := 0
	for files = files[fileSockets:]; len(files) > 0; files = files[2:] {
		s, err := takeSocket(files[0], files[1], o.properties, queue)
		if err != nil {
			files = files[2:]
			return o, err
		}
		o.sockets = append(o.sockets, s)
		queue++
	}
	return o, nil
}

// takeSocket takes over a socket and its umem, and binds it. The files are closed if it fails.
func takeSocket(of, umem *os.File, p properties, queue int) (*socket, error) {
	fd, err := netdev.Take(of)
	if err != nil {
		return nil, errors.Join(err, umem.Close())
	}
	defer umem.Close() // what is mapped stays
	raw, err := umem.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	var s *socket
	e := raw.Control(func(umem uintptr) { s, err = mapSocket(fd, int(umem), p) })
	if err = errors.Join(e, err); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if err := p.bindPatiently(fd, queue); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close closes all of it.
func (o *opened) close() error {
	err := closeAll(o.kept)
	for _, s := range o.sockets {
		err = errors.Join(err, s.close())
	}
	o.kept, o.sockets = nil, nil
	return err
}

// Details says what the log is to tell.
func (d *device) Details() string {
	text := map[Mode]string{ZeroCopy: "zero copy", Native: "native, with a copy", Generic: "generic"}[d.Mode]
	if d.Why != "" {
		text += " (" + d.Why + ")"
	}
	if most := d.maxMTU(); most != 0 {
		text += fmt.Sprintf(", MTU up to %d", most)
	}
	if d.Metadata {
		text += ", checksums are completed by the kernel or the NIC"
	}
	return text
}

// Queues is netdev.Interface's.
func (d *device) Queues(name string, c *netdev.Condition) (queues []netdev.Queue, err error) {
	for n, s := range d.sockets {
		q, err := newQueue(netdev.QueueName(name, n), c, s)
		if err != nil {
			for _, q := range d.queues {
				err = errors.Join(err, q.Close())
			}
			d.sockets = d.sockets[n:]
			return nil, err
		}
		d.queues, queues = append(d.queues, q), append(queues, q)
	}
	d.sockets = nil // they are the queue pairs'
	return queues, nil
}

// Look is netdev.Interface's.
func (d *device) Look() (netdev.State, error) {
	for _, q := range d.queues {
		_ = q.collect()
	}
	if err := d.isLost(); err != nil {
		return netdev.State{}, err
	}
	s, err := netdev.QueryNamed(d.socket, func() (string, error) {
		r := netdev.Named("")
		r.SetInt(int32(d.Index))
		err := r.Ask(d.socket, unix.SIOCGIFNAME)
		if err == nil {
			d.Name = r.Name()
		}
		return d.Name, err
	})
	if err != nil {
		if !errors.Is(err, netdev.ErrRenaming) {
			d.lost = err
		}
		return s, err
	}
	rx, _, err := channelsOf(d.socket, d.Name)
	if errors.Is(err, unix.ENODEV) {
		return s, netdev.ErrRenaming // since then
	}
	if err == nil && rx != d.opened.Queues {
		s.Trouble = fmt.Sprintf("it has %d queues, and had %d when it was opened: let it have as many again (ethtool -L), or start vvufwd anew", rx, d.opened.Queues)
	}
	if most := d.maxMTU(); most != 0 && s.MTU > most {
		s.Trouble = fmt.Sprintf("its MTU is %d, and may be %d at most: ip link set %s mtu %d", s.MTU, most, d.Name, most)
	}
	if d.spoilt {
		s.Trouble = spoiltText
	}
	return s, nil
}

// errLost says that an interface was moved to another network namespace, or that it vanished there.
var errLost = fmt.Errorf("it has left the network namespace: %w", unix.ENODEV)

// isLost finds out whether the sockets have lost their interface for good. They have also if it is there again, with the same number. The
// kernel says so once.
func (d *device) isLost() error {
	for _, s := range d.current {
		if e, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && unix.Errno(e) == unix.ENETDOWN {
			d.lost = errLost
		}
	}
	return d.lost
}

// leave takes back what was done to the interface: wherever it is now, whoever has it there is to have its frames.
func (d *device) leave() error {
	err := closeAll(d.kept)
	d.kept = nil
	return err
}

// Return is netdev.Interface's.
func (d *device) Return() error {
	if err := d.unbind(); err != nil {
		return err
	}
	if err := d.leave(); err != nil {
		return err
	}
	s, err := netdev.Query(d.socket, d.first)
	if err == nil && !s.Up {
		err = unix.ENODEV // not ready yet
	}
	if err != nil {
		return err
	}
	files, err := d.reopen()
	if err != nil {
		return err
	}
	o, err := take(files)
	if err != nil {
		return err
	}
	if len(o.sockets) != len(d.queues) {
		return errors.Join(fmt.Errorf("interface %s has %d queues, and had %d when vvufwd started: let it have as many again (ethtool -L), or start vvufwd anew",
			o.Name, len(o.sockets), len(d.queues)), o.close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.current {
		d.dropped += s.dropped()
	}
	for i, s := range o.sockets {
		err = errors.Join(err, d.queues[i].replace(s))
	}
	d.current = o.sockets
	d.opened = o
	d.sockets = nil
	d.lost, d.spoilt = nil, false
	return err
}

// Dropped is netdev.Interface's.
func (d *device) Dropped() (n uint64, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = d.dropped
	for _, s := range d.current {
		n += s.dropped()
	}
	return n, true
}

// Close is netdev.Interface's. The queue pairs are closed.
func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = nil
	return errors.Join(d.opened.close(), unix.Close(d.socket))
}
