package virtio

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
)

// Where the device has its structures, all in BAR 0 (virtio 1.3, 4.1.4).
const (
	commonAt = 0x0000
	isrAt    = 0x1000
	configAt = 0x2000
	notifyAt = 0x3000
)

// Common configuration (4.1.4.3).
const (
	featureSelect = 0
	feature       = 4
	numQueues     = 18
	status        = 20
	queueSelect   = 22
	queueSize     = 24
	queueEnable   = 28
)

// device is the registers of a virtio-net device with one queue pair, whose rings no one looks at.
type device struct {
	nic       *mmiotest.Fake
	vectors   []int
	busMaster bool

	mu      sync.Mutex
	resets  int
	dmaAt   int             // how many these were when it was last allowed DMA
	enabled [3]bool         // queues
	more    virtio.Features // offered besides
	gone    bool            // all its registers read as ones
}

func newDevice(t *testing.T) *device {
	d := &device{nic: mmiotest.NewFake(0x4000)}
	d.nic.Poke(commonAt+numQueues, 2, 3)
	d.nic.Poke(configAt+6, 2, 1) // link up
	d.nic.OnLoad = func(f *mmiotest.Fake, a mmiotest.Access) uint64 {
		switch {
		case d.isGone():
			return ^uint64(0) >> (64 - 8*a.Width)
		case a.Offset == commonAt+feature:
			offered := virtio.Version1 | virtio.AccessPlatform | virtio.NetStatus | d.more
			if sel := f.Peek(commonAt+featureSelect, 4); sel < 2 {
				return uint64(offered) >> (32 * sel) & 0xffffffff
			}
			return 0
		case a.Offset == commonAt+queueSize:
			return 16
		case a.Offset == commonAt+queueEnable:
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.enabled[f.Peek(commonAt+queueSelect, 2)%3] {
				return 1
			}
			return 0
		}
		return a.Value
	}
	d.nic.OnStore = func(f *mmiotest.Fake, a mmiotest.Access) {
		d.mu.Lock()
		defer d.mu.Unlock()
		switch {
		case a.Offset == commonAt+status && a.Value == 0:
			d.resets++
			d.enabled = [3]bool{}
		case a.Offset == commonAt+queueEnable:
			d.enabled[f.Peek(commonAt+queueSelect, 2)%3] = a.Value == 1
		}
	}
	t.Cleanup(func() { d.DisableMSIX() })
	return d
}

func (d *device) isGone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

func (d *device) setGone(gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = gone
}

// EnableBusMaster fails for a device that was not reset before: rings of whoever drove it last
// would be written to.
func (d *device) EnableBusMaster() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.resets == d.dmaAt {
		return errors.New("DMA is enabled before the device is reset")
	}
	d.busMaster, d.dmaAt = true, d.resets
	return nil
}

func (d *device) Address() pci.Address        { return pci.Address{Device: 4} }
func (d *device) Config() mmio.Space          { return mmiotest.NewFake(256) }
func (d *device) BARSize(int) uint64          { return 0x4000 }
func (d *device) BAR(int) (mmio.Space, error) { return d.nic, nil }
func (d *device) Reset() error                { return errors.ErrUnsupported }
func (d *device) MSIXCount() int              { return 3 }
func (d *device) Untranslated() bool          { return false }

func (d *device) Vector(i int) int {
	if i >= len(d.vectors) {
		return -1
	}
	return d.vectors[i]
}

func (d *device) EnableMSIX(n int) error {
	if d.vectors != nil {
		return errors.New("MSI-X is enabled already")
	}
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return err
		}
		d.vectors = append(d.vectors, fd)
	}
	return nil
}

func (d *device) DisableMSIX() {
	for _, fd := range d.vectors {
		unix.Close(fd)
	}
	d.vectors = nil
}

// ConfigBytes has the capabilities that a driver looks for.
func (d *device) ConfigBytes() ([]byte, error) {
	config := make([]byte, 256)
	if d.isGone() {
		for i := range config {
			config[i] = 0xff
		}
		return config, nil
	}
	le := binary.LittleEndian
	le.PutUint16(config[pci.OffsetVendor:], virtio.PCIVendor)
	le.PutUint16(config[pci.OffsetDevice:], virtio.ModernIDBase+virtio.DeviceNet)
	config[pci.OffsetStatus], config[0x34] = 1<<4, 0x40
	for i, c := range []struct {
		kind   byte
		offset uint32
	}{{1, commonAt}, {2, notifyAt}, {3, isrAt}, {4, configAt}} {
		at := 0x40 + i*0x18
		next := byte(at + 0x18)
		if i == 3 {
			next = 0
		}
		copy(config[at:], []byte{pci.CapVendor, next, 20, c.kind, 0})
		le.PutUint32(config[at+8:], c.offset)
		le.PutUint32(config[at+12:], 0x1000)
		le.PutUint32(config[at+16:], 4)
	}
	return config, nil
}
