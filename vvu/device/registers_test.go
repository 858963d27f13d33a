package device

import (
	"encoding/binary"
	"testing"

	"vvufwd/virtio"
	virtiopci "vvufwd/virtio/pci"
	"vvufwd/vvu/vfiouser"
)

// TestIdentity reads the device as a driver's PCI code does.
func TestIdentity(t *testing.T) {
	d := newRig(t).plug()
	var config [256]byte
	must(t, d.c.Read(vfiouser.RegionConfig, 0, config[:]))
	le := binary.LittleEndian
	if id := le.Uint32(config[:]); id != 0x10581af4 {
		t.Errorf("identity %#x", id)
	}
	if class := le.Uint32(config[8:]); class != 0x00ff0001 {
		t.Errorf("class and revision %#x", class)
	}
	caps, err := virtiopci.ParseCapabilities(config[:])
	must(t, err)
	for _, c := range []struct {
		name           string
		got            virtiopci.Location
		bar            int
		offset, length uint64
	}{
		{"common", caps.Common, 0, 0, 0x1000},
		{"ISR", caps.ISR, 0, 0x1000, 0x1000},
		{"device", caps.Device, 0, 0x2000, 0x1000},
		{"notify", caps.Notify, 0, 0x3000, 0x1000},
		{"doorbell", caps.Doorbell, 2, 0, 0x1000},
		{"notification", caps.Notification, 2, 0x1000, 0x1000},
		{"shared memory", caps.SharedMemory, 4, 0, appRAM},
	} {
		if !c.got.Present || c.got.BAR != c.bar || c.got.Offset != c.offset || c.got.Length != c.length {
			t.Errorf("%s: %+v, want BAR %d, %#x+%#x", c.name, c.got, c.bar, c.offset, c.length)
		}
	}
	if caps.NotifyMultiplier != 4 || caps.DoorbellMultiplier != 4 {
		t.Errorf("multipliers %d and %d, want 4", caps.NotifyMultiplier, caps.DoorbellMultiplier)
	}
	if n := d.read(barVirtio, configOffset+configQueues, 4); n != testRings {
		t.Errorf("max_vhost_queues is %d", n)
	}
	if lo, hi := d.read(barVirtio, configOffset+configUUID, 8), d.read(barVirtio, configOffset+configUUID+8, 8); lo != 0x0201 || hi != 16<<56 {
		t.Errorf("uuid reads %#x %#x", lo, hi)
	}
}

func TestLayoutSizes(t *testing.T) {
	for _, c := range []struct {
		queues  int
		ram     uint64
		vectors int
		memory  uint64
	}{
		{1, 4096, 4, 4 << 30},
		{2, 2 << 20, 5, 4 << 30},
		{256, 4 << 30, 259, 4 << 30},
		{256, 4<<30 + 4096, 259, 8 << 30},
		{256, 16 << 30, 259, 16 << 30},
	} {
		l := newLayout(c.queues, c.ram)
		if l.vectors != c.vectors || l.memory != c.memory || uint64(l.pba)+uint64(c.vectors+7)/8 > l.msix || int(l.pba) < 16*c.vectors {
			t.Errorf("%d queues, %d bytes: %+v", c.queues, c.ram, l)
		}
	}
}

func TestFeatures(t *testing.T) {
	d := newRig(t).plug()
	var got virtio.Features
	for half := range 3 {
		d.common(commonOfferSelect, 4, uint64(half))
		v := d.read(barVirtio, commonOffer, 4)
		if half == 2 && v != 0 {
			t.Errorf("feature bits from 64 on read %#x", v)
		}
		got |= virtio.Features(v) << (32 * half)
	}
	if got != offered {
		t.Errorf("offered %v", got)
	}
	for _, c := range []struct {
		f    virtio.Features
		want bool
	}{
		{0, false},
		{virtio.Version1, false},       // addresses would be guest-physical ones
		{virtio.AccessPlatform, false}, // a legacy driver
		{virtio.Version1 | virtio.AccessPlatform | virtio.RingPacked, false},
		{virtio.Version1 | virtio.AccessPlatform, true},
		{offered, true},
	} {
		if got := d.negotiate(c.f); got != c.want {
			t.Errorf("features %v accepted: %v", c.f, got)
		}
	}
	d.common(commonDriverSelect, 4, 0)
	d.common(commonDriver, 4, 0xffffffff) // too late
	if v := d.read(barVirtio, commonDriver, 4); virtio.Features(v) != offered&0xffffffff {
		t.Errorf("features changed after FEATURES_OK to %#x", v)
	}
}

func TestQueueRegisters(t *testing.T) {
	d := newRig(t).plug()
	if n := d.read(barVirtio, commonNumQueues, 2); n != 2 {
		t.Fatalf("%d queues", n)
	}
	d.common(commonQueueSelect, 2, 2)
	if n := d.read(barVirtio, commonQueueSize, 2); n != 0 {
		t.Errorf("queue 2 has size %d", n)
	}
	d.common(commonQueueSize, 2, 4) // nothing to change
	d.common(commonQueueSelect, 2, 1)
	if n := d.read(barVirtio, commonQueueNotify, 2); n != 1 {
		t.Errorf("queue 1 is notified at %d", n)
	}
	for v, want := range map[uint64]uint64{0: 0, testRings + 2: testRings + 2, testRings + 3: 0xffff, 0xffff: 0xffff} {
		d.common(commonQueueVector, 2, v)
		if got := d.read(barVirtio, commonQueueVector, 2); got != want {
			t.Errorf("queue vector %d reads back %d", v, got)
		}
		d.common(commonConfigVector, 2, v)
		if got := d.read(barVirtio, commonConfigVector, 2); got != want {
			t.Errorf("config vector %d reads back %d", v, got)
		}
	}
	d.common(commonQueueSize, 2, 256) // more than there are
	if n := d.read(barVirtio, commonQueueSize, 2); n != queueSize {
		t.Errorf("queue 1 grew to %d", n)
	}
	d.common(commonQueueDesc, 8, 0x1122334455667788)
	d.common(commonQueueDesc+4, 4, 0xaabbccdd)
	if v := d.read(barVirtio, commonQueueDesc, 8); v != 0xaabbccdd55667788 {
		t.Errorf("queue_desc reads %#x", v)
	}
	d.common(commonQueueEnable, 2, 1)
	d.common(commonQueueDesc, 8, 0)
	if v := d.read(barVirtio, commonQueueDesc, 8); v != 0xaabbccdd55667788 {
		t.Errorf("queue_desc of an enabled queue changed to %#x", v)
	}
	d.common(commonStatus, 1, 0)
	d.common(commonQueueSelect, 2, 1)
	if v := d.read(barVirtio, commonQueueDesc, 8) | d.read(barVirtio, commonQueueEnable, 2); v != 0 {
		t.Errorf("queue survives the reset: %#x", v)
	}
}

func TestNotificationRegisters(t *testing.T) {
	d := newRig(t).plug()
	set := func(ring, vector uint64) {
		d.write(barResources, notificationOffset+regSelect, 2, ring)
		d.write(barResources, notificationOffset+regVector, 2, vector)
	}
	get := func() (uint64, uint64) {
		v := d.read(barResources, notificationOffset, 4)
		return v & 0xffff, v >> 16
	}
	set(3, 7)
	if ring, vector := get(); ring != 3 || vector != 7 {
		t.Errorf("ring %d has vector %d", ring, vector)
	}
	d.write(barResources, notificationOffset+regSelect, 2, testRings) // no such ring
	if ring, _ := get(); ring != 3 {
		t.Errorf("ring %d is selected", ring)
	}
	set(3, testRings+3) // no such vector
	if _, vector := get(); vector != uint64(virtio.NoVector) {
		t.Errorf("vector reads back %d", vector)
	}
	set(0, 1)
	d.common(commonStatus, 1, 0)
	if ring, vector := get(); ring != 0 || vector != uint64(virtio.NoVector) {
		t.Errorf("after a reset ring %d has vector %d", ring, vector)
	}
}

// TestMSIXTable: the table is memory for monitors that keep none of their own,
// the pending bits show what is latched.
func TestMSIXTable(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	if v := d.read(barMSIX, 12, 4); v != 1 {
		t.Errorf("vector control of vector 0 is %d after a reset, want masked", v)
	}
	d.write(barMSIX, 16, 8, 0xfee00000)
	if v := d.read(barMSIX, 16, 8); v != 0xfee00000 {
		t.Errorf("table entry reads %#x", v)
	}
	must(t, d.c.SetIRQs(0x21, 0, 0))
	r.dev.mu.Lock()
	r.dev.interrupt(9)
	r.dev.unlock()
	if v := d.read(barMSIX, uint64(r.dev.layout.pba), 8); v != 1<<9 {
		t.Errorf("pending bits %#x, want bit 9", v)
	}
	d.write(barMSIX, uint64(r.dev.layout.pba), 8, ^uint64(0)) // lost
}

// TestRAMByMessage reads and writes shared memory without a mapping.
func TestRAMByMessage(t *testing.T) {
	r := newRig(t)
	d := r.plug()
	d.write(barMemory, 0x1234, 8, 0x0807060504030201)
	var b [8]byte
	if _, err := r.ram.file.ReadAt(b[:], 0x1234); err != nil || b != [8]byte{1, 2, 3, 4, 5, 6, 7, 8} {
		t.Errorf("file holds %x (%v)", b, err)
	}
	if v := d.read(barMemory, 0x1234, 8); v != 0x0807060504030201 {
		t.Errorf("shared memory reads %#x", v)
	}
	d.write(barMemory, appRAM, 8, 1) // past the file: lost, and nothing grows
	if v := d.read(barMemory, appRAM, 8); v != 0 {
		t.Errorf("behind the file is %#x", v)
	}
	if st, err := r.ram.file.Stat(); err != nil || st.Size() != appRAM {
		t.Errorf("the file has %d bytes now (%v)", st.Size(), err)
	}
}
