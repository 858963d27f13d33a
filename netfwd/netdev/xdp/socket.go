package xdp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// socket is an AF_XDP socket with its rings and its umem. It belongs to the goroutine that
// forwards, but for what is said otherwise.
type socket struct {
	receiver
	transmitter

	fd       int
	kernel   kernel
	zeroCopy bool
	held     int // frames handed out and not released

	umem  []byte   // nil: it is closed
	rings [][]byte // mapped

	before *socket // of retired ones, see Queue
}

// kernel is what it can be called for. Tests play it.
type kernel interface {
	wakeSend(fd int) unix.Errno
	wakeReceive(fd int) unix.Errno
}

// systemCalls are the real ones.
type systemCalls struct{}

func (systemCalls) wakeSend(fd int) unix.Errno    { return wakeSend(fd) }
func (systemCalls) wakeReceive(fd int) unix.Errno { return wakeReceive(fd) }

// newSocket makes a socket of rings, the umem, and what was agreed upon with the kernel. All
// chunks to send from are free.
func newSocket(umem []byte, fill shared[uint64], rx, tx shared[desc], done shared[uint64], p properties) *socket {
	s := &socket{fd: -1, kernel: systemCalls{}, zeroCopy: p.Mode == ZeroCopy, umem: umem}
	base, l := virtionet.AddressOf(umem), layout{p.Chunk}
	s.receiver = receiver{rx: newInput(rx), fill: newOutput(fill), layout: l, base: base}
	t := &s.transmitter
	t.tx, t.done, t.layout, t.base = newOutput(tx), newInput(done), l, base
	t.metadata, t.parts = p.Metadata, p.Parts
	for i := range uint32(txChunks) {
		t.free[i] = l.sendFrom(txChunks - 1 - i)
	}
	t.count = txChunks
	return s
}

// Sizes of the rings: each has room for all that can be in it.
const (
	fillSize = rxChunks
	rxSize   = rxChunks
	txSize   = txChunks
	doneSize = txChunks
)

// mapSocket maps what a socket shares with the kernel. The socket's descriptor is its own then.
func mapSocket(fd, umem int, p properties) (s *socket, err error) {
	var mapped [][]byte
	defer func() {
		if err != nil {
			err = errors.Join(err, unmap(mapped))
		}
	}()
	memory, err := unix.Mmap(umem, 0, layout{p.Chunk}.bytes(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map memory for frames: %w", err)
	}
	mapped = append(mapped, memory)
	var at unix.XDPMmapOffsets
	if err := ringOffsets(fd, &at); err != nil {
		return nil, err
	}
	fill, err := mapRing[uint64](fd, unix.XDP_UMEM_PGOFF_FILL_RING, at.Fr, fillSize, &mapped)
	if err != nil {
		return nil, err
	}
	rx, err := mapRing[desc](fd, unix.XDP_PGOFF_RX_RING, at.Rx, rxSize, &mapped)
	if err != nil {
		return nil, err
	}
	tx, err := mapRing[desc](fd, unix.XDP_PGOFF_TX_RING, at.Tx, txSize, &mapped)
	if err != nil {
		return nil, err
	}
	done, err := mapRing[uint64](fd, unix.XDP_UMEM_PGOFF_COMPLETION_RING, at.Cr, doneSize, &mapped)
	if err != nil {
		return nil, err
	}
	s = newSocket(memory, fill, rx, tx, done, p)
	s.fd, s.rings = fd, mapped[1:]
	return s, nil
}

// ringOffsets asks where indices and entries are.
func ringOffsets(fd int, at *unix.XDPMmapOffsets) error {
	n, err := getOption(fd, unix.XDP_MMAP_OFFSETS, at)
	if err == nil && n < int(offsetsBytes) {
		err = errors.New("the kernel's have no flags: use Linux 5.9 or later")
	}
	if err != nil {
		return fmt.Errorf("find the rings of a socket: %w", err)
	}
	return nil
}

// mapRing maps one of a socket's rings, and adds what it has mapped to the list.
func mapRing[E entry](fd int, which int64, at unix.XDPRingOffset, size uint32, mapped *[][]byte) (s shared[E], err error) {
	memory, err := unix.Mmap(fd, which, int(at.Desc)+int(size)*entryBytes[E](), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return s, fmt.Errorf("map a ring: %w", err)
	}
	*mapped = append(*mapped, memory)
	return newShared[E](memory, at, size)
}

func unmap(list [][]byte) error {
	var errs []error
	for _, m := range list {
		errs = append(errs, unix.Munmap(m))
	}
	return errors.Join(errs...)
}

// close closes the socket and what is mapped for it, when no one uses it any more. The kernel
// has what it needs until it is done with it.
func (s *socket) close() error {
	err := unmap(append(s.rings, s.umem))
	s.rings, s.umem = nil, nil
	return errors.Join(err, unix.Close(s.fd))
}

// dropped is how many frames the kernel had no room for. Safe for concurrent use until close.
func (s *socket) dropped() uint64 {
	var st unix.XDPStatistics
	if _, err := getOption(s.fd, unix.XDP_STATISTICS, &st); err != nil {
		return 0
	}
	return st.Rx_dropped + st.Rx_ring_full
}
