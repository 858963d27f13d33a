package pci

import (
	"fmt"
	"strconv"
	"strings"
)

// Address names a PCI function. Addresses are comparable.
type Address struct {
	Domain   uint32
	Bus      uint8
	Device   uint8 // 0..31
	Function uint8 // 0..7
}

// ParseAddress reads "0000:00:05.0" or, for domain 0, "00:05.0".
func ParseAddress(s string) (Address, error) {
	rest, function, ok := strings.Cut(s, ".")
	parts := strings.Split(rest, ":")
	if len(parts) == 2 {
		parts = append([]string{"0"}, parts...)
	}
	if !ok || len(parts) != 3 {
		return Address{}, addressError(s)
	}
	var a Address
	for _, field := range []struct {
		text  string
		limit uint64
		set   func(uint64)
	}{
		// A domain may be longer than 16 bits: those of VMD controllers are.
		{parts[0], 0xffff_ffff, func(v uint64) { a.Domain = uint32(v) }},
		{parts[1], 0xff, func(v uint64) { a.Bus = uint8(v) }},
		{parts[2], 0x1f, func(v uint64) { a.Device = uint8(v) }},
		{function, 7, func(v uint64) { a.Function = uint8(v) }},
	} {
		v, err := strconv.ParseUint(field.text, 16, 32)
		if err != nil || v > field.limit {
			return Address{}, addressError(s)
		}
		field.set(v)
	}
	return a, nil
}

// String writes the address in full, as sysfs does: "0000:00:05.0".
func (a Address) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%d", a.Domain, a.Bus, a.Device, a.Function)
}

func addressError(s string) error {
	return fmt.Errorf("%q is not a PCI address: want domain:bus:device.function in hexadecimal, such as 0000:00:05.0", s)
}
