package port

import (
	"errors"
	"fmt"
	"os"
	"time"

	"vvufwd/virtio"
)

// Limits of a frame, in bytes without vnet header and FCS.
const (
	MinFrame = 64
	MaxFrame = 9000
)

// Config describes a port.
type Config struct {
	Socket    string          // path of the vhost-user socket
	Server    bool            // listen on it instead of connecting to it
	Features  virtio.Features // wanted besides VERSION_1, of Optional
	QueueSize int             // entries of each ring, a power of two from 16 to 32768
	FrameSize int             // bytes of each frame sent, and of the largest received
	Timeout   time.Duration   // for the peer to appear, and then for each of its replies

	// Memory is a file to be the guest's memory, for a back-end that has to know it before. It stays the caller's, and keeps
	// its size. nil: one is made.
	Memory *os.File
}

// Optional are the features that a port can do without.
const Optional = virtio.NetMrgRxbuf | virtio.EventIdx | virtio.IndirectDesc | virtio.InOrder | virtio.RingPacked

const minQueue, maxQueue = 16, 32768

func (c *Config) check() error {
	switch {
	case c.Socket == "":
		return errors.New("socket path is empty")
	case c.QueueSize < minQueue || c.QueueSize > maxQueue || c.QueueSize&(c.QueueSize-1) != 0:
		return fmt.Errorf("queue size %d: must be a power of two from %d to %d", c.QueueSize, minQueue, maxQueue)
	case c.FrameSize < MinFrame || c.FrameSize > MaxFrame:
		return fmt.Errorf("frame size %d: must be %d to %d bytes", c.FrameSize, MinFrame, MaxFrame)
	case c.Features&^Optional != 0:
		return fmt.Errorf("feature %v is not one that a port can negotiate", c.Features&^Optional)
	case c.Features.Has(virtio.RingPacked) && c.Features&(virtio.InOrder|virtio.IndirectDesc) != 0:
		return errors.New("packed rings go without IN_ORDER and INDIRECT_DESC here")
	case c.Timeout <= 0:
		return errors.New("timeout must be positive")
	}
	return nil
}

// receiveRoom is the size of a receive buffer with its header.
func (c *Config) receiveRoom() int {
	if c.Features.Has(virtio.NetMrgRxbuf) {
		return mergeableBuffer
	}
	return Header + c.FrameSize
}
