package virtiopci

import (
	"errors"
	"fmt"
	"time"

	"vvufwd/vfio/mmio"
	"vvufwd/vfio/pci"
	"vvufwd/virtio"
)

// Transport is the register interface of one virtio device.
//
// Owned by one goroutine: the registers select what they refer to, so uses must not
// overlap. Notifiers, and the spaces that DeviceConfig and Space give, may be used
// elsewhere.
type Transport struct {
	device   Device
	addr     pci.Address
	deviceID uint16
	caps     Capabilities
	patience time.Duration // with a reset

	common mmio.Space
	notify mmio.Space
	config mmio.Space // nil without device configuration

	// status is what this driver has written. It is not read back for changing,
	// because the device adds bits of its own (NEEDS_RESET).
	status uint8
}

// Open finds the registers of a virtio device. want is the virtio device id that it
// must have, 0 for any. The device itself is not touched yet.
//
// What the user can fix is reported as *pci.DeviceError.
func Open(dev Device, want uint16) (*Transport, error) {
	t := &Transport{device: dev, addr: dev.Address(), patience: resetTimeout}
	config, err := dev.ConfigBytes()
	if err != nil {
		return nil, err
	}
	if len(config) < 256 {
		return nil, t.unusable("check the device model", "configuration space of only %d bytes", len(config))
	}
	if t.deviceID, err = identify(config); err != nil {
		return nil, &pci.DeviceError{Device: t.addr.String(), Problem: err.Error(), Remedy: "name a virtio device"}
	}
	if want != 0 && t.deviceID != want {
		return nil, t.unusable(fmt.Sprintf("name one of type %d", want), "is a virtio device of type %d", t.deviceID)
	}
	if t.caps, err = ParseCapabilities(config); err != nil {
		return nil, t.broken(err)
	}
	if !t.caps.Common.Present {
		return nil, t.unusable("start it with disable-legacy=on and without disable-modern=on", "is a legacy-only virtio device")
	}
	if err := t.checkFit(); err != nil {
		return nil, t.broken(err)
	}
	if t.common, err = t.Space(t.caps.Common); err != nil {
		return nil, err
	}
	if t.notify, err = t.Space(t.caps.Notify); err != nil {
		return nil, err
	}
	if t.caps.Device.Present {
		if t.config, err = t.Space(t.caps.Device); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// checkFit holds the structures against the BARs.
func (t *Transport) checkFit() error {
	for _, s := range []struct {
		name     string
		at       Location
		required bool
		min      uint64 // bytes
		align    uint64 // of the offset, 4.1.4
	}{
		{"common configuration", t.caps.Common, true, commonSize, 4},
		{"queue notification", t.caps.Notify, true, 2, 2},
		{"interrupt status", t.caps.ISR, false, 1, 1},
		{"device configuration", t.caps.Device, false, 1, 4},
		{"doorbell", t.caps.Doorbell, false, 2, 2},
		{"notification vector", t.caps.Notification, false, 4, 2},
	} {
		size := t.device.BARSize(s.at.BAR)
		switch {
		case !s.at.Present && !s.required:
		case !s.at.Present:
			return fmt.Errorf("it has no %s structure", s.name)
		case s.at.Length < s.min:
			return fmt.Errorf("its %s structure has %d bytes, want %d", s.name, s.at.Length, s.min)
		case s.at.Offset%s.align != 0:
			return fmt.Errorf("its %s structure is misaligned, at 0x%x", s.name, s.at.Offset)
		case s.at.Offset > size || s.at.Length > size-s.at.Offset:
			return fmt.Errorf("its %s structure, 0x%x bytes at 0x%x, does not fit in BAR %d of 0x%x bytes",
				s.name, s.at.Length, s.at.Offset, s.at.BAR, size)
		}
	}
	// The length of the shared memory is not to be trusted.
	if shm := t.caps.SharedMemory; shm.Present && shm.Offset >= t.device.BARSize(shm.BAR) {
		return fmt.Errorf("its shared memory starts at 0x%x, beyond BAR %d of 0x%x bytes", shm.Offset, shm.BAR, t.device.BARSize(shm.BAR))
	}
	return nil
}

// DeviceID is the virtio device id, of modern and transitional devices alike.
func (t *Transport) DeviceID() uint16 { return t.deviceID }

// Address is where the device is.
func (t *Transport) Address() pci.Address { return t.addr }

// Capabilities is where the device has its structures.
func (t *Transport) Capabilities() Capabilities { return t.caps }

// Space returns the registers of a structure. All but the shared memory, which has
// no usable length and is not registers, are known to fit in their BAR.
func (t *Transport) Space(at Location) (mmio.Space, error) {
	if !at.Present {
		return nil, fmt.Errorf("%v: the device does not have this structure", t.addr)
	}
	bar, err := t.device.BAR(at.BAR)
	if err != nil {
		return nil, err
	}
	space, err := mmio.Sub(bar, at.Offset, at.Length)
	if err != nil {
		return nil, fmt.Errorf("%v: BAR %d: %w", t.addr, at.BAR, err)
	}
	return space, nil
}

// resetTimeout is how long a device may take to reset: one second was seen, and
// devices that serve another process may have to wait for it.
const resetTimeout = 3 * time.Second

// longestReset is how long hardware may take: its makers' own drivers wait two minutes for a
// function of a card that has many of them.
const longestReset = 2 * time.Minute

// Reset resets the device and waits until it says that it is done (4.1.4.3.2). It
// forgets features, queues and vectors.
func (t *Transport) Reset() error { return t.ResetWhile(func() bool { return false }) }

// ResetWhile is Reset for devices that may be hardware. One that is slow, by seconds, is waited for
// as long as goOn says so, which is asked once a second, but no longer than two minutes.
func (t *Transport) ResetWhile(goOn func() bool) error {
	t.status = 0
	t.common.Store8(commonStatus, 0)
	pause := 50 * time.Microsecond
	begin := time.Now()
	for deadline := begin.Add(t.patience); ; {
		status := t.Status()
		switch {
		case status == 0:
			return nil
		case status == absent:
			return &pci.DeviceError{Device: t.addr.String(), Problem: "cannot be reset", Err: ErrAbsent, Remedy: "restart the program that provides the device, and plug it in again"}
		case time.Now().Before(deadline):
		case time.Since(begin) < longestReset && goOn():
			deadline = time.Now().Add(time.Second)
		default:
			return t.unusable("restart the program or the card that provides the device", "does not finish its reset within %v (status 0x%02x)",
				time.Since(begin).Round(time.Millisecond), status)
		}
		time.Sleep(pause)
		pause = min(2*pause, 10*time.Millisecond)
	}
}

// InReset reports whether the device is as a reset leaves it: no one has driven it since
// it was switched on, or the last who did has reset it. It can be negotiated with then,
// without another Reset.
func (t *Transport) InReset() bool {
	if t.Status() != 0 {
		return false
	}
	t.status = 0
	return true
}

// absent is the status byte of a device that is not there any more. A device never has
// all of the bits: two are reserved (2.1).
const absent = 0xff

// ErrAbsent says that a device has gone: its registers read as ones.
var ErrAbsent = errors.New("the device does not answer any more: all its registers read as ones")

// Absent reports whether the device has gone. What its registers say means nothing then.
func (t *Transport) Absent() bool { return t.Status() == absent }

// Status reads the status byte.
func (t *Transport) Status() uint8 { return t.common.Load8(commonStatus) }

// addStatus sets bits of the status byte; only a reset clears them (2.1.1).
func (t *Transport) addStatus(bits uint8) {
	t.status |= bits
	t.common.Store8(commonStatus, t.status)
}

// DriverOK tells the device to start. Queues and vectors are set up by then.
func (t *Transport) DriverOK() { t.addStatus(virtio.StatusDriverOK) }

// Fail tells the device that this driver has given it up. Only Reset helps then.
func (t *Transport) Fail() { t.addStatus(virtio.StatusFailed) }

// failWith gives the device up because of err, which it returns.
func (t *Transport) failWith(err error) error {
	t.Fail()
	return err
}

func (t *Transport) unusable(remedy, problem string, args ...any) error {
	return &pci.DeviceError{Device: t.addr.String(), Problem: fmt.Sprintf(problem, args...), Remedy: remedy}
}

// broken is for a device that breaks the rules of virtio.
func (t *Transport) broken(err error) error {
	return &pci.DeviceError{
		Device: t.addr.String(), Problem: "does not keep to the virtio specification", Err: err,
		Remedy: "update or replace the program that provides the device",
	}
}

// errNotReset is a driver's mistake.
var errNotReset = errors.New("reset the device before negotiating features")
