package xdp

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	virtionet "vvufwd/virtio/net"
)

// unbound makes a socket with a umem and rings for a queue. Many kernels map rings only of sockets that are not bound
// yet: that is left to New.
func (op *opening) unbound(queue int) (socket, umem *os.File, err error) {
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
	return socket, umem, nil
}

// tryBind finds out whether queues can be bound to, with sockets that are closed then.
func (op *opening) tryBind() (err error) {
	var files []*os.File
	defer func() { err = errors.Join(err, closeAll(files)) }()
	for queue := range op.Queues {
		socket, umem, err := op.unbound(queue)
		if err != nil {
			return err
		}
		files = append(files, socket, umem)
		raw, err := socket.SyscallConn()
		if err != nil {
			return err
		}
		e := raw.Control(func(fd uintptr) { err = op.bind(int(fd), queue) })
		if err = errors.Join(e, err); err != nil {
			return err
		}
	}
	return nil
}

// bind binds a socket to a queue.
func (p *properties) bind(fd, queue int) error {
	if err := unix.Bind(fd, &unix.SockaddrXDP{Flags: p.bindFlags(), Ifindex: uint32(p.Index), QueueID: uint32(queue)}); err != nil {
		return fmt.Errorf("queue %d: bind a socket: %w", queue, err)
	}
	return nil
}

// bindPatiently is bind for a queue that may still be busy with a socket of tryBind: one that was closed goes when the kernel has time for it.
func (p *properties) bindPatiently(fd, queue int) (err error) {
	for end := time.Now().Add(4 * patience); ; time.Sleep(pause) {
		if err = p.bind(fd, queue); !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
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
func (p *properties) bindFlags() (flags uint16) {
	flags = unix.XDP_USE_NEED_WAKEUP | unix.XDP_COPY
	if p.Mode == ZeroCopy {
		flags = unix.XDP_USE_NEED_WAKEUP | unix.XDP_ZEROCOPY
	}
	if p.Parts {
		flags |= unix.XDP_USE_SG
	}
	return flags
}
