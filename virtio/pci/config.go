package virtiopci

import (
	"fmt"

	"vvufwd/vfio/mmio"
)

// Generation changes whenever the device changes its configuration (4.1.4.3).
func (t *Transport) Generation() uint8 { return t.common.Load8(commonGeneration) }

// DeviceConfig is the device's own configuration as registers, nil when it has none.
// Fields are to be accessed in their own width.
func (t *Transport) DeviceConfig() mmio.Space { return t.config }

// maxConfigTries bounds how often a configuration that changes while it is read is
// read again.
const maxConfigTries = 100

// ReadConfig reads consecutive bytes of the device's configuration, a MAC address or
// a UUID, at one moment: it starts again when the device changed something meanwhile
// (2.5.1). Fields of 2 and 4 bytes are read with ReadConfig16 and ReadConfig32.
func (t *Transport) ReadConfig(off uint64, buf []byte) error {
	fields, err := t.configField(off, uint64(len(buf)))
	if err != nil {
		return err
	}
	for range maxConfigTries {
		before := t.Generation()
		for i := range buf {
			buf[i] = fields.Load8(uint64(i))
		}
		if t.Generation() == before {
			return nil
		}
	}
	return fmt.Errorf("%v: the device configuration changes all the time", t.addr)
}

// ReadConfig16 reads a field of two bytes.
func (t *Transport) ReadConfig16(off uint64) (uint16, error) {
	field, err := t.configField(off, 2)
	if err != nil {
		return 0, err
	}
	return field.Load16(0), nil
}

// ReadConfig32 reads a field of four bytes.
func (t *Transport) ReadConfig32(off uint64) (uint32, error) {
	field, err := t.configField(off, 4)
	if err != nil {
		return 0, err
	}
	return field.Load32(0), nil
}

func (t *Transport) configField(off, n uint64) (mmio.Space, error) {
	if t.config == nil {
		return nil, fmt.Errorf("%v: the device has no configuration of its own", t.addr)
	}
	field, err := mmio.Sub(t.config, off, n)
	if err != nil {
		return nil, fmt.Errorf("%v: device configuration: %w", t.addr, err)
	}
	return field, nil
}
