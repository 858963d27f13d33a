package xdp

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// bound makes a socket with a umem and rings, and binds it to a queue.
func (op *opening) bound(queue int) (socket, umem *os.File, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("queue %d: %w", queue, err)
			err = errors.Join(err, closeAll(made(socket, umem)))
		}
	}()
	memory, err := unix.MemfdCreate("xdp umem", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("memory for frames: %w", err)
	}
	umem = os.NewFile(uintptr(memory), "xdp umem")
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, umem, fmt.Errorf("AF_XDP socket: %w", err)
	}
	socket = os.NewFile(uintptr(fd), "AF_XDP socket")
	if err := op.register(fd, memory); err != nil {
		return socket, umem, err
	}
	for _, ring := range []struct {
		option int
		size   int
	}{{unix.XDP_UMEM_FILL_RING, fillSize}, {unix.XDP_UMEM_COMPLETION_RING, doneSize}, {unix.XDP_RX_RING, rxSize}, {unix.XDP_TX_RING, txSize}} {
		if err := unix.SetsockoptInt(fd, unix.SOL_XDP, ring.option, ring.size); err != nil {
			return socket, umem, fmt.Errorf("make a ring: %w", err)
		}
	}
	if err := op.fill(fd); err != nil {
		return socket, umem, err
	}
	// What the sockets of one burst take besides the chunks, in the kernel's memory.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendMemory)
	if err := unix.Bind(fd, &unix.SockaddrXDP{Flags: op.bindFlags(), Ifindex: uint32(op.Index), QueueID: uint32(queue)}); err != nil {
		return socket, umem, fmt.Errorf("bind a socket: %w", err)
	}
	return socket, umem, checkRings(fd)
}

// errRings is of kernels that map the rings of sockets only before these are bound, as Linux 6.1 does: by then
// vvufwd has executed itself again, and has lost what was mapped.
var errRings = errors.New("the kernel does not map the rings of sockets that are bound: use a newer one, or --port packet:INTERFACE")

// checkRings makes sure that the rings of a bound socket can be mapped.
func checkRings(fd int) error {
	page, err := unix.Mmap(fd, unix.XDP_PGOFF_RX_RING, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if errors.Is(err, unix.EBUSY) {
		return errRings
	}
	if err != nil {
		return fmt.Errorf("map a ring: %w", err)
	}
	return unix.Munmap(page)
}

// sendMemory is for frames that the kernel has copied and not sent yet, with what it takes besides.
const sendMemory = txChunks * 4096

// made are those that are.
func made(files ...*os.File) (list []*os.File) {
	for _, f := range files {
		if f != nil {
			list = append(list, f)
		}
	}
	return list
}

// register gives a socket its umem, with room before each frame for what is to be done with it if
// the kernel knows of that.
func (op *opening) register(fd, memory int) error {
	size := layout{op.Chunk}.bytes()
	if err := unix.Ftruncate(memory, int64(size)); err != nil {
		return fmt.Errorf("memory for frames: %w", err)
	}
	umem, err := unix.Mmap(memory, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("memory for frames: %w", err)
	}
	defer unix.Munmap(umem) // the kernel has pinned the pages
	r := unix.XDPUmemReg{Addr: virtionet.AddressOf(umem), Len: uint64(size), Size: op.Chunk}
	if op.Metadata {
		with := r
		with.Flags, with.Tx_metadata_len = unix.XDP_UMEM_TX_METADATA_LEN, metadataLen
		if setOption(fd, unix.XDP_UMEM_REG, &with) == nil {
			return nil
		}
		op.Metadata = false // Linux before 6.8, or soon after
	}
	if err := setOption(fd, unix.XDP_UMEM_REG, &r); err != nil {
		return fmt.Errorf("register memory for frames: %w", err)
	}
	return nil
}

// fill gives the kernel all chunks to receive into: some drivers want them before they are bound.
func (op *opening) fill(fd int) error {
	var at unix.XDPMmapOffsets
	if err := ringOffsets(fd, &at); err != nil {
		return err
	}
	var mapped [][]byte
	ring, err := mapRing[uint64](fd, unix.XDP_UMEM_PGOFF_FILL_RING, at.Fr, fillSize, &mapped)
	if err == nil {
		fill, chunk := newOutput(ring), uint64(op.Chunk)
		for i := range uint64(rxChunks) {
			fill.put(i * chunk)
		}
		fill.publish()
	}
	return errors.Join(err, unmap(mapped))
}

// bindFlags say how frames are to be passed.
func (op *opening) bindFlags() (flags uint16) {
	flags = unix.XDP_USE_NEED_WAKEUP | unix.XDP_COPY
	if op.Mode == ZeroCopy {
		flags = unix.XDP_USE_NEED_WAKEUP | unix.XDP_ZEROCOPY
	}
	if op.Parts {
		flags |= unix.XDP_USE_SG
	}
	return flags
}
