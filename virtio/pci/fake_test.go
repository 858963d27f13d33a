package virtiopci

import (
	"encoding/binary"
	"errors"
	"testing"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
)

// Where the fake device has its structures, all in BAR 4.
const (
	fakeCommon = 0x0000
	fakeISR    = 0x1000
	fakeConfig = 0x2000
	fakeNotify = 0x3000
)

// fakeDevice is a virtio device with two queues of up to 128 descriptors and four
// MSI-X vectors. Its fields change how it behaves.
type fakeDevice struct {
	config     []byte
	bar        *mmiotest.Fake // BAR 4
	doorbells  *mmiotest.Fake // BAR 2
	barSize    map[int]uint64
	features   virtio.Features
	refuse     bool // FEATURES_OK
	resetReads int  // how many reads of the status a reset takes
	vectors    uint16

	untranslated bool

	// inside the device
	accepted virtio.Features
	queues   [2]fakeQueue
	resets   int
}

type fakeQueue struct {
	size, vector, enabled uint16
	notifyOff             uint16
}

// virtioCap builds a vendor-specific capability; words follow the first 16 bytes.
func virtioCap(next, kind, bar byte, offset, length uint32, words ...uint32) []byte {
	b := []byte{pci.CapVendor, next, byte(16 + 4*len(words)), kind, bar, 0, 0, 0}
	b = binary.LittleEndian.AppendUint32(b, offset)
	b = binary.LittleEndian.AppendUint32(b, length)
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// configSpace builds configuration space with capabilities from 0x40 on, each 0x18
// bytes from the next.
func configSpace(device, subsystem uint16, caps ...func(next byte) []byte) []byte {
	config := make([]byte, 256)
	binary.LittleEndian.PutUint16(config[pci.OffsetVendor:], virtio.PCIVendor)
	binary.LittleEndian.PutUint16(config[pci.OffsetDevice:], device)
	binary.LittleEndian.PutUint16(config[pci.OffsetSubDevice:], subsystem)
	if len(caps) > 0 {
		config[pci.OffsetStatus] = 1 << 4
		config[0x34] = 0x40
	}
	at := 0x40
	for i, c := range caps {
		next := byte(at + 0x18)
		if i == len(caps)-1 {
			next = 0
		}
		copy(config[at:], c(next))
		at += 0x18
	}
	return config
}

func capOf(kind, bar byte, offset, length uint32, words ...uint32) func(byte) []byte {
	return func(next byte) []byte { return virtioCap(next, kind, bar, offset, length, words...) }
}

func standardCaps() []func(byte) []byte {
	return []func(byte) []byte{
		capOf(typeCommon, 4, fakeCommon, 0x1000),
		capOf(typeISR, 4, fakeISR, 0x1000),
		capOf(typeDevice, 4, fakeConfig, 0x1000),
		capOf(typeNotify, 4, fakeNotify, 0x1000, 4),
		capOf(5, 0, 0, 0, 0), // PCI configuration access, not used
	}
}

// vhostUserCaps are those of the QEMU fork, extra ones first as there.
func vhostUserCaps() []func(byte) []byte {
	return append([]func(byte) []byte{
		capOf(typeSharedMemory, 2, 0x3000, 0x1000),
		capOf(typeNotification, 2, 0x2000, 0x1000),
		capOf(typeDoorbell, 2, 0, 0x2000, 4),
	}, standardCaps()...)
}

func newFakeDevice() *fakeDevice {
	d := &fakeDevice{
		config:    configSpace(0x1041, 0x1100, standardCaps()...),
		bar:       mmiotest.NewFake(0x4000),
		doorbells: mmiotest.NewFake(0x4000),
		barSize:   map[int]uint64{2: 16 << 30, 4: 0x4000},
		features:  virtio.Version1 | virtio.AccessPlatform | virtio.NetMAC | virtio.EventIdx,
		vectors:   4,
	}
	d.reset()
	d.bar.OnLoad, d.bar.OnStore = d.load, d.store
	return d
}

func (d *fakeDevice) Untranslated() bool           { return d.untranslated }
func (d *fakeDevice) Address() pci.Address         { return pci.Address{Device: 5} }
func (d *fakeDevice) ConfigBytes() ([]byte, error) { return d.config, nil }
func (d *fakeDevice) BARSize(i int) uint64         { return d.barSize[i] }

func (d *fakeDevice) BAR(i int) (mmio.Space, error) {
	switch i {
	case 2:
		return d.doorbells, nil
	case 4:
		return d.bar, nil
	}
	return nil, errors.New("no such BAR")
}

func (d *fakeDevice) reset() {
	d.accepted = 0
	d.queues = [2]fakeQueue{
		{size: 128, vector: virtio.NoVector},
		{size: 128, vector: virtio.NoVector, notifyOff: 3},
	}
	d.bar.Poke(commonNumQueues, 2, 2)
	d.bar.Poke(commonConfigVector, 2, uint64(virtio.NoVector))
}

// queue is the selected one, nil when it does not exist.
func (d *fakeDevice) queue() *fakeQueue {
	if i := d.bar.Peek(commonQueueSelect, 2); i < uint64(len(d.queues)) {
		return &d.queues[i]
	}
	return nil
}

func (d *fakeDevice) load(f *mmiotest.Fake, a mmiotest.Access) uint64 {
	switch a.Offset {
	case commonDeviceFeature:
		return uint64(d.features) >> (32 * f.Peek(commonDeviceFeatureSelect, 4)) & 0xffff_ffff
	case commonStatus:
		if d.resetReads > 0 && a.Value == 0 {
			d.resetReads--
			return 1
		}
	case commonQueueSize, commonQueueVector, commonQueueEnable, commonQueueNotifyOff:
		q := d.queue()
		if q == nil {
			return 0
		}
		return map[uint64]uint64{
			commonQueueSize: uint64(q.size), commonQueueVector: uint64(q.vector),
			commonQueueEnable: uint64(q.enabled), commonQueueNotifyOff: uint64(q.notifyOff),
		}[a.Offset]
	}
	return a.Value
}

func (d *fakeDevice) store(f *mmiotest.Fake, a mmiotest.Access) {
	vector := uint16(a.Value)
	if vector >= d.vectors {
		vector = virtio.NoVector
	}
	switch a.Offset {
	case commonStatus:
		switch {
		case a.Value == 0:
			d.resets++
			d.reset()
		case d.refuse:
			f.Poke(commonStatus, 1, a.Value&^uint64(virtio.StatusFeaturesOK))
		}
	case commonDriverFeature:
		d.accepted |= virtio.Features(a.Value) << (32 * f.Peek(commonDriverFeatureSelect, 4))
	case commonConfigVector:
		f.Poke(commonConfigVector, 2, uint64(vector))
	case commonQueueSize:
		d.queue().size = uint16(a.Value)
	case commonQueueVector:
		d.queue().vector = vector
	case commonQueueEnable:
		d.queue().enabled = uint16(a.Value)
	}
}

func (d *fakeDevice) status() uint8 { return uint8(d.bar.Peek(commonStatus, 1)) }

func mustOpen(t *testing.T, d *fakeDevice, want uint16) *Transport {
	t.Helper()
	tr, err := Open(d, want)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// mustNegotiate opens the device and takes it through feature negotiation.
func mustNegotiate(t *testing.T, d *fakeDevice) *Transport {
	t.Helper()
	tr := mustOpen(t, d, 0)
	if err := tr.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Negotiate(0); err != nil {
		t.Fatal(err)
	}
	d.bar.ClearLog()
	return tr
}
