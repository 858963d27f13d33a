package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/vfio/pci"
	"vvufwd/vfio/uapi"
)

// fakeKernel answers the ioctls. The device's file is a memfd, so that mapping,
// pread and pwrite are real.
type fakeKernel struct {
	mu    sync.Mutex
	calls []string

	apiVersion   int
	noType1      bool
	noNoIOMMU    bool
	setAlready   bool // the IOMMU model
	dead         bool // the device: its registers are zero, and stay so
	setIOMMU     error
	setContainer error
	notViable    bool
	openDevice   error
	setIRQs      int
	setIRQsErr   error
	resetErr     error
	noReset      bool
	onDisable    func()       // called when vectors are disabled
	onMap        func() error // called before memory is mapped, which fails with it
	noRequests   bool
	lostIOMMU    bool // as long as no group is in the container

	regions map[uint32]fakeRegion
	msix    uint32
	ranges  [][2]uint64

	bind      error // to iommufd
	attach    error
	alignment uint64
	spaces    uint32 // of iommufd that were made

	device  int   // the memfd as the test holds it
	vectors []int // as given to the kernel
	request int   // eventfd for requests
	mapped  map[uint64]uint64
}

type fakeRegion struct {
	size   uint64
	flags  uint32
	sparse [][2]uint64
}

// regionOffset is where a region is in the device's file, as vfio-pci does it.
func regionOffset(index uint32) uint64 { return uint64(index) << 40 }

// newFakeKernel has a device with a 16 KiB BAR 0 that can be mapped, a 4 KiB BAR 1
// that cannot, a BAR 2 of 16 GiB, a BAR 4 that can be mapped in part, and
// configuration space.
func newFakeKernel(t *testing.T) *fakeKernel {
	t.Helper()
	fd, err := unix.MemfdCreate("device", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	const rw = uapi.RegionRead | uapi.RegionWrite
	k := &fakeKernel{
		device: fd,
		msix:   4,
		mapped: map[uint64]uint64{},
		ranges: [][2]uint64{{0, 0xfedf_ffff}, {0xfef0_0000, 1<<39 - 1}},
		regions: map[uint32]fakeRegion{
			0:                    {size: 16 << 10, flags: rw | uapi.RegionMmap},
			1:                    {size: 4 << 10, flags: rw},
			2:                    {size: 16 << 30, flags: rw | uapi.RegionMmap},
			4:                    {size: 12 << 10, flags: rw | uapi.RegionMmap, sparse: [][2]uint64{{0, 4 << 10}, {8 << 10, 4 << 10}}},
			uapi.PCIConfigRegion: {size: 4096, flags: rw},
		},
	}
	if err := unix.Ftruncate(fd, int64(regionOffset(8))); err != nil {
		t.Fatal(err)
	}
	return k
}

// poke writes into a region of the device's file.
func (k *fakeKernel) poke(t *testing.T, index uint32, off uint64, b ...byte) {
	t.Helper()
	if _, err := unix.Pwrite(k.device, b, int64(regionOffset(index)+off)); err != nil {
		t.Fatal(err)
	}
}

func (k *fakeKernel) peek(t *testing.T, index uint32, off uint64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := unix.Pread(k.device, b, int64(regionOffset(index)+off)); err != nil {
		t.Fatal(err)
	}
	return b
}

func (k *fakeKernel) note(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, fmt.Sprintf(format, args...))
}

func (k *fakeKernel) APIVersion(int) (int, error) { return k.apiVersion, nil }

func (k *fakeKernel) CheckExtension(_, model int) (bool, error) {
	return model == uapi.Type1v2IOMMU && !k.noType1 || model == uapi.NoIOMMU && !k.noNoIOMMU, nil
}

func (k *fakeKernel) SetIOMMU(_, model int) error {
	k.note("set IOMMU %d", model)
	if k.setAlready {
		return unix.EINVAL
	}
	return k.setIOMMU
}

func list(head int, id uint16, entries [][2]uint64) []byte {
	b := make([]byte, head)
	b = binary.LittleEndian.AppendUint16(b, id)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(entries)))
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint64(b, e[0])
		b = binary.LittleEndian.AppendUint64(b, e[1])
	}
	return b
}

func (k *fakeKernel) IOMMUInfo(int) (uapi.IOMMUInfo, []byte, error) {
	if k.lostIOMMU {
		return uapi.IOMMUInfo{}, nil, unix.EINVAL
	}
	info := uapi.IOMMUInfo{Flags: uapi.IOMMUInfoPageSizes, PageSizes: -max(k.alignment, 4096)}
	if k.ranges == nil {
		return info, make([]byte, 24), nil
	}
	info.Flags |= uapi.IOMMUInfoCapabilities
	info.CapOffset = 24
	return info, list(24, uapi.IOMMUCapIOVARange, k.ranges), nil
}

func (k *fakeKernel) MapDMA(_ int, mem []byte, iova uint64) error {
	if k.onMap != nil {
		if err := k.onMap(); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.mapped[iova]; ok {
		return unix.EEXIST
	}
	k.mapped[iova] = uint64(len(mem))
	return nil
}

func (k *fakeKernel) UnmapDMA(_ int, iova, size uint64) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mapped[iova] != size {
		return 0, nil
	}
	delete(k.mapped, iova)
	return size, nil
}

func (k *fakeKernel) BindIOMMUFD(int, int) error {
	k.note("bind to iommufd")
	return k.bind
}

func (k *fakeKernel) AttachIOAS(_ int, ioas uint32) error {
	k.note("attach to %d", ioas)
	return k.attach
}

func (k *fakeKernel) AllocIOAS(int) (uint32, error) {
	k.spaces++
	return k.spaces, nil
}

func (k *fakeKernel) IOASRanges(int, uint32) (list []uapi.IOVARange, alignment uint64, err error) {
	for _, r := range k.ranges {
		list = append(list, uapi.IOVARange{Start: r[0], End: r[1]})
	}
	return list, max(k.alignment, 1), nil
}

func (k *fakeKernel) MapIOAS(fd int, ioas uint32, mem []byte, iova uint64) error {
	if ioas == 0 || ioas > k.spaces {
		return unix.ENOENT
	}
	return k.MapDMA(fd, mem, iova)
}

func (k *fakeKernel) UnmapIOAS(fd int, _ uint32, iova, size uint64) (uint64, error) {
	return k.UnmapDMA(fd, iova, size)
}

func (k *fakeKernel) GroupStatus(int) (uint32, error) {
	if k.notViable {
		return 0, nil
	}
	return uapi.GroupViable, nil
}

func (k *fakeKernel) GroupSetContainer(int, int) error {
	k.note("set container")
	return k.setContainer
}

func (k *fakeKernel) GroupDeviceFD(_ int, name string) (int, error) {
	k.note("open %s", name)
	if k.openDevice != nil {
		return -1, k.openDevice
	}
	if k.dead {
		return unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)
	}
	return unix.FcntlInt(uintptr(k.device), unix.F_DUPFD_CLOEXEC, 0)
}

func (k *fakeKernel) DeviceInfo(int) (uapi.DeviceInfo, error) {
	info := uapi.DeviceInfo{Flags: uapi.DevicePCI, NumRegions: 9, NumIRQs: 5}
	if !k.noReset {
		info.Flags |= uapi.DeviceReset
	}
	return info, nil
}

func (k *fakeKernel) RegionInfo(_ int, index uint32) (uapi.RegionInfo, []byte, error) {
	r := k.regions[index]
	info := uapi.RegionInfo{Index: index, Size: r.size, Flags: r.flags, Offset: regionOffset(index)}
	if r.sparse == nil {
		return info, make([]byte, 32), nil
	}
	info.Flags |= uapi.RegionCapabilities
	info.CapOffset = 32
	return info, list(32, uapi.RegionCapSparseMmap, r.sparse), nil
}

func (k *fakeKernel) IRQInfo(_ int, index uint32) (uapi.IRQInfo, error) {
	switch index {
	case uapi.PCIMSIXIRQ:
	case uapi.PCIReqIRQ:
		if k.noRequests {
			return uapi.IRQInfo{}, unix.EINVAL
		}
		return uapi.IRQInfo{Flags: uapi.IRQEventfd | uapi.IRQNoResize, Index: index, Count: 1}, nil
	default:
		return uapi.IRQInfo{}, errors.New("only MSI-X and requests are asked for")
	}
	return uapi.IRQInfo{Flags: uapi.IRQEventfd | uapi.IRQNoResize, Index: index, Count: k.msix}, nil
}

func (k *fakeKernel) SetIRQEventfds(_ int, index uint32, fds []int) (int, error) {
	if index == uapi.PCIReqIRQ {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.request = fds[0]
		return 0, nil
	}
	k.note("enable %d vectors of kind %d", len(fds), index)
	if k.setIRQsErr == nil && k.setIRQs == 0 {
		k.vectors = append([]int(nil), fds...)
	}
	return k.setIRQs, k.setIRQsErr
}

func (k *fakeKernel) DisableIRQs(_ int, index uint32) error {
	k.note("disable vectors of kind %d", index)
	if k.onDisable != nil {
		k.onDisable()
	}
	return nil
}

func (k *fakeKernel) ResetDevice(int) error {
	k.note("reset")
	return k.resetErr
}

// machine is a fake /dev/vfio and /sys with three functions: 04.0 bound to vfio-pci,
// 05.0 bound to virtio-pci, both in group 7; 06.0 bound to vfio-pci, in group 8.
type machine struct {
	t        *testing.T
	kernel   *fakeKernel
	dev, sys string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, kernel: newFakeKernel(t), dev: t.TempDir(), sys: t.TempDir()}
	for _, node := range []string{"vfio", "7", "8"} {
		m.write(m.dev, node, "")
	}
	m.function("0000:00:04.0", "vfio-pci", "7")
	m.function("0000:00:05.0", "virtio-pci", "7")
	m.function("0000:00:06.0", "vfio-pci", "8")
	return m
}

// calls is the machine's kernel.
func (m *machine) calls() kernel { return kernel{m.kernel, m.kernel, m.kernel, m.kernel} }

func (m *machine) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(dir, name, text string) {
	m.t.Helper()
	m.check(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
	m.check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// function adds a PCI function; without driver or group where these are empty.
func (m *machine) function(addr, driver, group string) {
	m.t.Helper()
	dir := "bus/pci/devices/" + addr
	for name, text := range map[string]string{
		"vendor": "0x1af4", "device": "0x1041", "subsystem_vendor": "0x1af4", "subsystem_device": "0x1100", "class": "0x020000",
	} {
		m.write(m.sys, dir+"/"+name, text)
	}
	if driver != "" {
		m.check(os.Symlink("../../drivers/"+driver, filepath.Join(m.sys, dir, "driver")))
	}
	if group != "" {
		members := "kernel/iommu_groups/" + group + "/devices"
		m.check(os.MkdirAll(filepath.Join(m.sys, members), 0o755))
		m.check(os.Symlink("../../../../"+dir, filepath.Join(m.sys, members, addr)))
		m.check(os.Symlink("../../../../kernel/iommu_groups/"+group, filepath.Join(m.sys, dir, "iommu_group")))
	}
}

func (m *machine) sysfs() pci.Sysfs { return pci.Sysfs{Root: m.sys} }

func (m *machine) container() (*Container, error) { return m.containerWith(nil) }

func (m *machine) containerWith(bare *Bare) (*Container, error) {
	return openContainer(Config{Sysfs: m.sysfs(), Bare: bare}, m.calls(), m.dev, filepath.Join(m.dev, "iommu"))
}

// cdev gives a function a file of its own, and the machine iommufd.
func (m *machine) cdev(addr, name string) {
	m.t.Helper()
	m.check(os.MkdirAll(filepath.Join(m.sys, "bus/pci/devices", addr, "vfio-dev", name), 0o755))
	m.check(os.MkdirAll(filepath.Join(m.dev, "devices"), 0o755))
	m.check(os.Symlink(fmt.Sprintf("/proc/self/fd/%d", m.kernel.device), filepath.Join(m.dev, "devices", name)))
	m.write(m.dev, "iommu", "")
}

// opener is a container in another process that opens files for c.
func (m *machine) opener(c *Container) *Container {
	return shareContainer(c.Shared(), m.sysfs(), m.calls(), m.dev)
}

// open opens function 04.0 and closes everything at the end of the test.
func (m *machine) open() (*Container, *Device) {
	m.t.Helper()
	c, err := m.container()
	m.check(err)
	m.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			m.t.Error(err)
		}
	})
	d, err := c.Open(pci.Address{Device: 4})
	m.check(err)
	return c, d
}

// TestMain fails the package when a test leaks a file descriptor.
func TestMain(m *testing.M) {
	// The runtime's poller opens files of its own with its first use.
	if r, w, err := os.Pipe(); err == nil {
		_, _ = r.Close(), w.Close()
	}
	before := countFiles()
	code := m.Run()
	if after := countFiles(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d file descriptors before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

func countFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}
