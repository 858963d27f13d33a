package xdp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// errForgotten is why an interface is opened again after its machine was suspended.
var errForgotten = errors.New("its driver may have forgotten the XDP program while the machine was suspended")

// spoiltText is for a driver that cannot even be left.
const spoiltText = "its driver has lost zero copy while the machine was suspended, and the kernel would fail if that were given up now: restart the machine, and use mode=copy where it is suspended"

// Resume is netdev.Resumer's. Who runs the program in generic mode is the kernel, which forgets nothing. Of drivers virtio_net makes its
// queues anew when the machine resumes, without their programs (virtnet_restore_up; 6.1 and 7.3), so that nothing is received any more, and without
// their umem: it sends nothing then either, and when a socket is closed it follows a null pointer (virtnet_xsk_pool_disable, 7.3).
func (d *device) Resume() {
	switch {
	case d.lost != nil || d.Mode == Generic:
	case d.Mode == ZeroCopy && d.opened.Driver == "virtio_net":
		d.spoilt = true
	default:
		d.lost = errForgotten
	}
}

// letGo is how long whoever forwards may take to let go of sockets, which is a round of its loop.
const letGo = 2 * time.Second

// unbind closes the sockets of an interface that is there still: its queues take no others before. The queue pairs get some instead that
// nothing comes from.
func (d *device) unbind() (err error) {
	if d.lost != errForgotten {
		return nil
	}
	if d.leaving == nil {
		if err := d.useNone(); err != nil {
			return err
		}
	}
	for end := time.Now().Add(letGo); ; time.Sleep(time.Millisecond) {
		for _, q := range d.queues {
			err = errors.Join(err, q.collect())
		}
		if !slices.ContainsFunc(d.leaving, func(s *socket) bool { return s.umem != nil }) {
			d.leaving, d.lost = nil, errUnbound
			return err
		}
		if time.Now().After(end) {
			return errors.Join(errors.New("whoever forwards has not let go of its sockets yet"), err)
		}
	}
}

// useNone gives all queue pairs a socket that nothing comes from.
func (d *device) useNone() (err error) {
	var instead []*socket
	for range d.queues {
		s, err := noSocket(d.properties)
		if err != nil {
			for _, s := range instead {
				err = errors.Join(err, s.close())
			}
			return err
		}
		instead = append(instead, s)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range d.current {
		d.dropped += s.dropped()
		err = errors.Join(err, d.queues[i].replace(instead[i]))
	}
	d.leaving, d.current = d.current, instead
	return err
}

// errUnbound is errForgotten when the sockets are closed.
var errUnbound = fmt.Errorf("%w: it is not open again yet", errForgotten)

// noSocket is a socket that nothing comes from, and where what is sent stays.
func noSocket(p properties) (s *socket, err error) {
	var mapped [][]byte
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("memory in place of a socket's: %w", err), unmap(mapped))
		}
	}()
	memory := func(n int) (m []byte, err error) {
		if m, err = unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE); err == nil {
			mapped = append(mapped, m)
		}
		return m, err
	}
	umem, e0 := memory(layout{p.Chunk}.bytes())
	fill, e1 := ringOf[uint64](memory, fillSize)
	rx, e2 := ringOf[desc](memory, rxSize)
	tx, e3 := ringOf[desc](memory, txSize)
	done, e4 := ringOf[uint64](memory, doneSize)
	if err := errors.Join(e0, e1, e2, e3, e4); err != nil {
		return nil, err
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	s = newSocket(umem, fill, rx, tx, done, p)
	s.fd, s.rings = event, mapped[1:]
	return s, nil
}

// ringOf is a ring of n entries in memory of so many bytes, with an index for each cache line.
func ringOf[E entry](memory func(bytes int) ([]byte, error), n uint32) (r shared[E], err error) {
	at := unix.XDPRingOffset{Producer: 0, Consumer: 64, Flags: 128, Desc: 192}
	m, err := memory(int(at.Desc) + int(n)*entryBytes[E]())
	if err != nil {
		return r, err
	}
	return newShared[E](m, at, n)
}
