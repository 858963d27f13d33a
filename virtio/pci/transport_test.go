package virtiopci

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vvufwd/vfio/mmio/mmiotest"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
)

func write(offset uint64, width int, value uint64) mmiotest.Access {
	return mmiotest.Access{Write: true, Offset: offset, Width: width, Value: value}
}

func TestDeviceID(t *testing.T) {
	for _, c := range []struct {
		device, subsystem, want uint16
	}{
		{0x1041, 0x1100, 1}, {0x1000, 1, 1}, {0x1058, 0x1100, 24}, {0x1017, 24, 24}, {0x107d, 0x1100, 61}, {0x107f, 0, 63},
	} {
		d := newFakeDevice()
		d.config = configSpace(c.device, c.subsystem, standardCaps()...)
		if got := mustOpen(t, d, c.want).DeviceID(); got != c.want {
			t.Errorf("%04x with subsystem %04x is type %d, want %d", c.device, c.subsystem, got, c.want)
		}
		_, err := Open(d, 99)
		checkDeviceError(t, err, "0000:00:05.0: is a virtio device of type", "name one of type 99")
	}
}

func TestOpenTouchesNothing(t *testing.T) {
	d := newFakeDevice()
	mustOpen(t, d, virtio.DeviceNet)
	if log := d.bar.Log(); len(log) != 0 {
		t.Errorf("accesses: %v", log)
	}
}

func checkDeviceError(t *testing.T, err error, says ...string) {
	t.Helper()
	var deviceErr *pci.DeviceError
	if !errors.As(err, &deviceErr) || deviceErr.Remedy == "" {
		t.Fatalf("%v is no DeviceError with a remedy", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	foreign := configSpace(0x1041, 0, standardCaps()...)
	binary.LittleEndian.PutUint16(foreign, 0x8086)
	replace := func(i int, c func(byte) []byte) []byte {
		caps := vhostUserCaps()
		caps[i] = c
		return configSpace(0x1058, 0, caps...)
	}
	const shm, notification, doorbell, common, device, notify = 0, 1, 2, 3, 5, 6
	for name, c := range map[string]struct {
		config []byte
		says   string
	}{
		"vendor":                   {foreign, "is not a virtio device (id 8086:1041)"},
		"device below":             {configSpace(0x0fff, 0, standardCaps()...), "is not a virtio device"},
		"device above":             {configSpace(0x1080, 0, standardCaps()...), "is not a virtio device"},
		"legacy only":              {configSpace(0x1000, 1), "disable-legacy=on"},
		"no notify":                {configSpace(0x1041, 0, standardCaps()[:3]...), "no queue notification structure"},
		"short space":              {make([]byte, 128), "configuration space of only 128 bytes"},
		"broken list":              {configSpace(0x1041, 0, capOf(typeCommon, 4, 0, 0x38), func(byte) []byte { return []byte{9, 0x40, 16, 99} }), "loops"},
		"common short":             {replace(common, capOf(typeCommon, 4, 0, 0x37)), "common configuration structure has 55 bytes"},
		"common misaligned":        {replace(common, capOf(typeCommon, 4, 2, 0x38)), "misaligned"},
		"common outside":           {replace(common, capOf(typeCommon, 4, 0x4000, 0x38)), "does not fit in BAR 4"},
		"device outside":           {replace(device, capOf(typeDevice, 4, 0x3ffc, 8)), "does not fit in BAR 4"},
		"notify in no BAR":         {replace(notify, capOf(typeNotify, 1, 0, 0x1000, 4)), "does not fit in BAR 1 of 0x0 bytes"},
		"doorbell outside":         {replace(doorbell, capOf(typeDoorbell, 4, 0x3000, 0x2000, 4)), "doorbell structure"},
		"notification short":       {replace(notification, capOf(typeNotification, 2, 0, 2)), "notification vector structure"},
		"shared memory beyond BAR": {replace(shm, capOf(typeSharedMemory, 4, 0x4000, 0x1000)), "shared memory starts at 0x4000"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFakeDevice()
			d.config = c.config
			_, err := Open(d, 0)
			checkDeviceError(t, err, "0000:00:05.0", c.says)
		})
	}
}

// TestSharedMemoryLengthIsNotTrusted: devices write anything there.
func TestSharedMemoryLengthIsNotTrusted(t *testing.T) {
	d := newFakeDevice()
	caps := vhostUserCaps()
	caps[0] = capOf(typeSharedMemory, 2, 0x3000, 0xffff_ffff)
	d.barSize[2] = 0x4000
	d.config = configSpace(0x1058, 0, caps...)
	tr := mustOpen(t, d, virtio.DeviceVhostUser)
	if _, err := tr.Space(tr.Capabilities().SharedMemory); err == nil {
		t.Error("registers beyond the BAR")
	}
	doorbells, err := tr.Space(tr.Capabilities().Doorbell)
	if err != nil || doorbells.Len() != 0x2000 {
		t.Errorf("doorbells: %v", err)
	}
}

func TestSpaceThatIsNotThere(t *testing.T) {
	tr := mustOpen(t, newFakeDevice(), 0)
	if _, err := tr.Space(tr.Capabilities().Doorbell); err == nil {
		t.Error("a network device with doorbells")
	}
}

func TestReset(t *testing.T) {
	d := newFakeDevice()
	d.resetReads = 3
	tr := mustOpen(t, d, 0)
	if err := tr.Reset(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]mmiotest.Access{write(commonStatus, 1, 0)}, d.bar.Writes()); diff != "" {
		t.Error(diff)
	}
	if d.resetReads != 0 {
		t.Error("the driver did not wait for the reset")
	}
}

func TestResetThatNeverEnds(t *testing.T) {
	for says, status := range map[string]uint64{"status 0x40": 0x40, "does not answer": absent} {
		d := newFakeDevice()
		d.bar.OnLoad = func(_ *mmiotest.Fake, a mmiotest.Access) uint64 {
			if a.Offset == commonStatus {
				return status
			}
			return a.Value
		}
		tr := mustOpen(t, d, 0)
		tr.patience = 20 * time.Millisecond
		checkDeviceError(t, tr.Reset(), "0000:00:05.0", says)
	}
}

// A device that takes its time is waited for as long as the caller likes.
func TestSlowReset(t *testing.T) {
	for _, patient := range []bool{true, false} {
		d := newFakeDevice()
		asked, ready := 0, false
		d.bar.OnLoad = func(_ *mmiotest.Fake, a mmiotest.Access) uint64 {
			if a.Offset == commonStatus && !ready {
				return 0x0f
			}
			return a.Value
		}
		tr := mustOpen(t, d, 0)
		tr.patience = 20 * time.Millisecond
		begin := time.Now()
		err := tr.ResetWhile(func() bool { asked++; ready = patient && asked == 2; return patient })
		if patient && (err != nil || asked != 2) {
			t.Errorf("a device that is ready after a second: %v, asked %d times", err, asked)
		}
		if !patient && (asked != 1 || time.Since(begin) > time.Second) {
			t.Errorf("asked %d times within %v after being told not to wait", asked, time.Since(begin))
		}
		if !patient {
			checkDeviceError(t, err, "0000:00:05.0", "does not finish its reset")
		}
	}
}

// TestNegotiateOrder is the order of virtio 3.1.1, register by register.
func TestNegotiateOrder(t *testing.T) {
	d := newFakeDevice()
	tr := mustOpen(t, d, virtio.DeviceNet)
	if err := tr.Reset(); err != nil {
		t.Fatal(err)
	}
	d.bar.ClearLog()
	got, err := tr.Negotiate(virtio.NetMAC | virtio.NetMrgRxbuf)
	if err != nil {
		t.Fatal(err)
	}
	// MRG_RXBUF is not offered, EVENT_IDX not wanted.
	if want := virtio.Version1 | virtio.AccessPlatform | virtio.NetMAC; got != want || d.accepted != want {
		t.Errorf("accepted %v, the device saw %v, want %v", got, d.accepted, want)
	}
	const ack, driver, ok = uint64(virtio.StatusAcknowledge), uint64(virtio.StatusDriver), uint64(virtio.StatusFeaturesOK)
	want := []mmiotest.Access{
		write(commonStatus, 1, ack),
		write(commonStatus, 1, ack|driver),
		write(commonDeviceFeatureSelect, 4, 0),
		{Offset: commonDeviceFeature, Width: 4, Value: uint64(d.features) & 0xffff_ffff},
		write(commonDeviceFeatureSelect, 4, 1),
		{Offset: commonDeviceFeature, Width: 4, Value: 3},
		write(commonDriverFeatureSelect, 4, 0),
		write(commonDriverFeature, 4, uint64(virtio.NetMAC)),
		write(commonDriverFeatureSelect, 4, 1),
		write(commonDriverFeature, 4, 3),
		write(commonStatus, 1, ack|driver|ok),
		{Offset: commonStatus, Width: 1, Value: ack | driver | ok},
	}
	if diff := cmp.Diff(want, d.bar.Log()); diff != "" {
		t.Error(diff)
	}
}

func TestNegotiateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(*fakeDevice)
		says    string
	}{
		"no VERSION_1":       {func(d *fakeDevice) { d.features &^= virtio.Version1 }, "disable-legacy=on"},
		"no ACCESS_PLATFORM": {func(d *fakeDevice) { d.features &^= virtio.AccessPlatform }, "iommu_platform=on"},
		"FEATURES_OK":        {func(d *fakeDevice) { d.refuse = true }, "does not accept the features"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFakeDevice()
			c.arrange(d)
			tr := mustOpen(t, d, 0)
			if err := tr.Reset(); err != nil {
				t.Fatal(err)
			}
			_, err := tr.Negotiate(virtio.NetMAC)
			checkDeviceError(t, err, "0000:00:05.0", c.says)
			if d.status()&virtio.StatusFailed == 0 {
				t.Errorf("status 0x%02x, not FAILED", d.status())
			}
		})
	}
}

// A driver should accept ORDER_PLATFORM (6.1): hardware may refuse to work without.
func TestNegotiateOrderPlatform(t *testing.T) {
	d := newFakeDevice()
	d.features |= virtio.OrderPlatform
	tr := mustOpen(t, d, 0)
	if err := tr.Reset(); err != nil {
		t.Fatal(err)
	}
	if got, err := tr.Negotiate(0); err != nil || !got.Has(virtio.OrderPlatform) {
		t.Errorf("accepted %v, %v", got, err)
	}
}

func TestNegotiateNeedsReset(t *testing.T) {
	d := newFakeDevice()
	tr := mustNegotiate(t, d)
	if _, err := tr.Negotiate(0); !errors.Is(err, errNotReset) {
		t.Errorf("error: %v", err)
	}
	if err := tr.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Negotiate(0); err != nil {
		t.Errorf("after a reset: %v", err)
	}
}

func TestUntranslated(t *testing.T) {
	d := newFakeDevice()
	d.features &^= virtio.AccessPlatform
	d.untranslated = true
	tr := mustOpen(t, d, 0)
	if err := tr.Reset(); err != nil {
		t.Fatal(err)
	}
	if got, err := tr.Negotiate(0); err != nil || got != virtio.Version1 {
		t.Errorf("accepted %v, %v", got, err)
	}
}

// TestStatusIsNotReadForWriting: bits that the device sets are not written back.
func TestStatusIsNotReadForWriting(t *testing.T) {
	d := newFakeDevice()
	tr := mustNegotiate(t, d)
	d.bar.Poke(commonStatus, 1, uint64(d.status()|virtio.StatusNeedsReset))
	tr.DriverOK()
	if diff := cmp.Diff([]mmiotest.Access{write(commonStatus, 1, 0x0f)}, d.bar.Log()); diff != "" {
		t.Error(diff)
	}
	tr.Fail()
	if tr.Status() != 0x8f {
		t.Errorf("status 0x%02x", tr.Status())
	}
}
