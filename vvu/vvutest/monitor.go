package vvutest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/dma"
	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	"vvufwd/vvu/vfiouser"
	"vvufwd/vvu/vfiouser/vfiousertest"
)

// Monitor plays the driver VM's monitor and kernel for a vfio-user device: the
// device is a PCI function, registers are messages, vectors are eventfds. It may be
// used concurrently.
type Monitor struct {
	t testing.TB

	mu      sync.Mutex
	client  *vfiousertest.Client
	regions map[int]region
	vectors []int

	gone   bool
	ram    []byte // of the driver VM
	used   int
	mapped map[*byte]bool
}

// region is one of the device's, as it describes it.
type region struct {
	size   uint64
	fd     int    // -1 if it cannot be mapped
	offset uint64 // of the region in fd, modulo 2^64
}

const (
	driverRAM     = 32 << 20
	driverRAMIOVA = 1 << 32
)

// Plug connects to the device at path, until the test ends.
func Plug(t testing.TB, path string) *Monitor {
	t.Helper()
	m := &Monitor{t: t, regions: map[int]region{}, mapped: map[*byte]bool{}}
	t.Cleanup(m.Unplug)
	var err error
	if m.client, err = vfiousertest.Dial(path); err != nil {
		t.Fatal(err)
	}
	if err := m.share(); err != nil {
		t.Fatal(err)
	}
	for i := range vfiouser.RegionConfig + 1 {
		if m.regions[i], err = m.describe(i); err != nil {
			t.Fatalf("region %d: %v", i, err)
		}
	}
	if err := m.client.Reset(); err != nil {
		t.Fatal(err)
	}
	return m
}

// share gives the driver VM memory that the device can reach.
func (m *Monitor) share() error {
	fd, err := unix.MemfdCreate("driver", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, driverRAM); err != nil {
		return err
	}
	if m.ram, err = unix.Mmap(fd, 0, driverRAM, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	return m.client.MapDMA(driverRAMIOVA, driverRAM, fd, 0)
}

// describe asks for a region.
func (m *Monitor) describe(index int) (region, error) {
	reply, err := m.client.RegionInfo(index, 4096)
	if err == nil && reply.Errno != 0 {
		err = reply.Errno
	}
	if err == nil && len(reply.Payload) < 32 {
		err = fmt.Errorf("region info of %d bytes", len(reply.Payload))
	}
	if err != nil {
		return region{}, err
	}
	le := binary.LittleEndian
	r := region{size: le.Uint64(reply.Payload[16:]), fd: -1, offset: le.Uint64(reply.Payload[24:])}
	if len(reply.FDs) > 0 {
		r.fd = reply.FDs[0]
	}
	return r, nil
}

// Unplug is the end of the monitor, before that of the test.
func (m *Monitor) Unplug() {
	if m.gone {
		return
	}
	m.gone = true
	if len(m.mapped) != 0 {
		m.t.Errorf("monitor: %d mappings of the BAR are left", len(m.mapped))
	}
	if m.client != nil {
		m.client.Close()
	}
	for _, r := range m.regions {
		if r.fd >= 0 {
			unix.Close(r.fd)
		}
	}
	for _, fd := range m.vectors {
		unix.Close(fd)
	}
	if m.ram != nil {
		unix.Munmap(m.ram)
	}
}

// Address, ConfigBytes, BARSize, BAR, MapBAR, Unmap, EnableBusMaster, MSIXCount,
// EnableMSIX and Vector are those of a function opened through VFIO.
func (m *Monitor) Address() pci.Address { return pci.Address{Device: 5} }

// ConfigBytes returns the configuration space.
func (m *Monitor) ConfigBytes() ([]byte, error) {
	b := make([]byte, 256)
	m.mu.Lock()
	defer m.mu.Unlock()
	return b, m.client.Read(vfiouser.RegionConfig, 0, b)
}

// Untranslated is whether no IOMMU translates for the device.
func (m *Monitor) Untranslated() bool { return false }

// BARSize returns the size of a BAR in bytes.
func (m *Monitor) BARSize(i int) uint64 { return m.regions[i].size }

// BAR returns the registers of a BAR.
func (m *Monitor) BAR(i int) (mmio.Space, error) {
	if m.regions[i].size == 0 {
		return nil, fmt.Errorf("no BAR %d", i)
	}
	return &monitorSpace{m: m, bar: i, size: m.regions[i].size}, nil
}

// MapBAR maps a part of a BAR.
func (m *Monitor) MapBAR(i int, offset, size uint64) ([]byte, error) {
	r := m.regions[i]
	if r.fd < 0 || offset > r.size || size > r.size-offset {
		return nil, fmt.Errorf("BAR %d cannot be mapped at %#x", i, offset)
	}
	b, err := unix.Mmap(r.fd, int64(r.offset+offset), int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mapped[&b[0]] = true
	return b, nil
}

// Unmap gives a mapping back.
func (m *Monitor) Unmap(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.mapped[&b[0]] {
		return fmt.Errorf("unmapping what is not mapped: %w", unix.EINVAL)
	}
	delete(m.mapped, &b[0])
	return unix.Munmap(b)
}

// EnableBusMaster sets the bit in the command register.
func (m *Monitor) EnableBusMaster() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b [2]byte
	if err := m.client.Read(vfiouser.RegionConfig, pci.OffsetCommand, b[:]); err != nil {
		return err
	}
	v := binary.LittleEndian.Uint16(b[:]) | pci.CommandMemory | pci.CommandBusMaster
	binary.LittleEndian.PutUint16(b[:], v)
	return m.client.Write(vfiouser.RegionConfig, pci.OffsetCommand, b[:])
}

// MSIXCount is the number of vectors that the capability tells.
func (m *Monitor) MSIXCount() int {
	config, err := m.ConfigBytes()
	if err != nil {
		m.t.Errorf("monitor: %v", err)
		return 0
	}
	caps, err := pci.Capabilities(config)
	for _, c := range caps {
		if c.ID == pci.CapMSIX && len(c.Bytes) >= 4 {
			return int(binary.LittleEndian.Uint16(c.Bytes[2:])&0x7ff) + 1
		}
	}
	m.t.Errorf("monitor: no MSI-X capability (%v)", err)
	return 0
}

// EnableMSIX makes the first n vectors eventfds.
func (m *Monitor) EnableMSIX(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.vectors) < n {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return err
		}
		m.vectors = append(m.vectors, fd)
	}
	return m.client.SetIRQs(vfiousertest.IRQEventFD, 0, n, m.vectors[:n]...)
}

// Vector is the eventfd of a vector.
func (m *Monitor) Vector(i int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vectors[i]
}

// Alloc hands out memory of the driver VM.
func (m *Monitor) Alloc(size, align int) (dma.Memory, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := (m.used + align - 1) &^ (align - 1)
	if size > len(m.ram)-at {
		return dma.Memory{}, fmt.Errorf("no %d bytes left", size)
	}
	m.used = at + size
	return dma.Memory{Bytes: m.ram[at:m.used:m.used], IOVA: dma.IOVA(driverRAMIOVA + at)}, nil
}
