// Package vfiousertest is a scripted vfio-user client for tests: it plays the
// part of the virtual machine monitor.
package vfiousertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"vvufwd/virtio/peerfd"
	"vvufwd/vvu/vfiouser"
)

// QEMUVersion is the VERSION payload of QEMU 11.
const QEMUVersion = "\x00\x00\x00\x00" +
	`{"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1048576, "max_dma_maps": 65535, "migration": {"pgsize": 4096, "max_bitmap_size": 268435456}, "write_multiple": true}}` + "\x00"

// Client is the client's end of a connection. One goroutine owns it.
type Client struct {
	Conn *net.UnixConn
	id   uint16
}

// Reply is the server's answer. The descriptors are the caller's.
type Reply struct {
	Errno   unix.Errno // 0 without error
	Payload []byte
	FDs     []int
}

// Dial connects to a server and does the handshake.
func Dial(path string) (*Client, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	c := &Client{Conn: conn}
	r, err := c.Do(vfiouser.CmdVersion, []byte(QEMUVersion))
	if err == nil && r.Errno != 0 {
		err = r.Errno
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return c, nil
}

// Close ends the connection, as a monitor does that exits.
func (c *Client) Close() error { return c.Conn.Close() }

// Send sends a command without waiting; flags are those of the header.
func (c *Client) Send(cmd vfiouser.Command, flags uint32, payload []byte, fds ...int) error {
	c.id++
	b := make([]byte, 16, 16+len(payload))
	le := binary.LittleEndian
	le.PutUint16(b[0:], c.id)
	le.PutUint16(b[2:], uint16(cmd))
	le.PutUint32(b[4:], uint32(16+len(payload)))
	le.PutUint32(b[8:], flags)
	b = append(b, payload...)
	return peerfd.Send(c.Conn, b, fds...)
}

// Receive reads one reply to the command sent last.
func (c *Client) Receive() (Reply, error) {
	var head [16]byte
	var r Reply
	var err error
	if r.FDs, err = peerfd.NewReceiver(c.Conn, 16).Fill(head[:], nil); err != nil {
		return r, err
	}
	le := binary.LittleEndian
	if id := le.Uint16(head[0:]); id != c.id {
		return r, fmt.Errorf("reply to message %d, want %d", id, c.id)
	}
	flags := le.Uint32(head[8:])
	if flags&0xf != 1 {
		return r, fmt.Errorf("flags %#x are not those of a reply", flags)
	}
	if flags&0x20 != 0 {
		r.Errno = unix.Errno(le.Uint32(head[12:]))
	}
	size := le.Uint32(head[4:])
	if size < 16 || size > 1<<21 {
		return r, fmt.Errorf("reply of %d bytes", size)
	}
	r.Payload = make([]byte, size-16)
	_, err = io.ReadFull(c.Conn, r.Payload)
	return r, err
}

// Do sends a command and waits for the reply.
func (c *Client) Do(cmd vfiouser.Command, payload []byte, fds ...int) (Reply, error) {
	if err := c.Send(cmd, 0, payload, fds...); err != nil {
		return Reply{}, err
	}
	return c.Receive()
}

// do is Do for commands whose error reply is an error of the test.
func (c *Client) do(cmd vfiouser.Command, payload []byte, fds ...int) ([]byte, error) {
	r, err := c.Do(cmd, payload, fds...)
	if err == nil && r.Errno != 0 {
		err = fmt.Errorf("%v: %w", cmd, r.Errno)
	}
	return r.Payload, err
}

// words builds a payload of 32-bit and 64-bit words.
func words(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		binary.Write(&b, binary.LittleEndian, v)
	}
	return b.Bytes()
}

// MapDMA maps size bytes at IOVA addr to the file at offset (fd < 0: no file).
func (c *Client) MapDMA(addr, size uint64, fd int, offset uint64) error {
	var fds []int
	if fd >= 0 {
		fds = []int{fd}
	}
	_, err := c.do(vfiouser.CmdDMAMap, DMAMap(addr, size, offset), fds...)
	return err
}

// DMAMap is the payload of DMA_MAP.
func DMAMap(addr, size, offset uint64) []byte {
	return words(uint32(32), uint32(3), offset, addr, size)
}

// UnmapDMA takes a range away.
func (c *Client) UnmapDMA(addr, size uint64) error {
	_, err := c.do(vfiouser.CmdDMAUnmap, DMAUnmap(0, addr, size))
	return err
}

// DMAUnmap is the payload of DMA_UNMAP.
func DMAUnmap(flags uint32, addr, size uint64) []byte {
	return words(uint32(24), flags, addr, size)
}

// RegionInfo asks for a region with the given argsz.
func (c *Client) RegionInfo(index int, argsz uint32) (Reply, error) {
	return c.Do(vfiouser.CmdGetRegionInfo, words(argsz, uint32(0), uint32(index), uint32(0), uint64(0), uint64(0)))
}

// Read reads from a region.
func (c *Client) Read(region int, offset uint64, p []byte) error {
	out, err := c.do(vfiouser.CmdRegionRead, Access(region, offset, len(p)))
	if err == nil && len(out) != 16+len(p) {
		err = fmt.Errorf("read of %d bytes answered with %d", len(p), len(out))
	}
	if err == nil {
		copy(p, out[16:])
	}
	return err
}

// Write writes to a region.
func (c *Client) Write(region int, offset uint64, p []byte) error {
	_, err := c.do(vfiouser.CmdRegionWrite, append(Access(region, offset, len(p)), p...))
	return err
}

// Access is the head of the payload of region accesses.
func Access(region int, offset uint64, n int) []byte {
	return words(offset, uint32(region), uint32(n))
}

// Flags for SetIRQs.
const (
	IRQDisable uint32 = 0x21 // with count 0
	IRQEventFD uint32 = 0x24
)

// SetIRQs sets MSI-X eventfds.
func (c *Client) SetIRQs(flags uint32, start, count int, fds ...int) error {
	_, err := c.do(vfiouser.CmdSetIRQs, IRQSet(flags, 2, start, count), fds...)
	return err
}

// IRQSet is the payload of DEVICE_SET_IRQS.
func IRQSet(flags uint32, index, start, count int) []byte {
	return words(uint32(20), flags, uint32(index), uint32(start), uint32(count))
}

// Reset resets the device.
func (c *Client) Reset() error {
	_, err := c.do(vfiouser.CmdReset, nil)
	return err
}
