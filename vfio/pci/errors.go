package pci

import "errors"

// ErrNoDevice says that there is no PCI function at an address.
var ErrNoDevice = errors.New("no such PCI device")

// DeviceError says that a device cannot be used as it is, and what to do about it.
type DeviceError struct {
	Device  string // PCI address, or the path of a device node
	Problem string
	Remedy  string
	Err     error // the cause, may be nil
}

// Error is one line: "0000:00:05.0: problem (cause): remedy".
func (e *DeviceError) Error() string {
	line := e.Device + ": " + e.Problem
	if e.Err != nil && e.Err.Error() != e.Problem {
		line += " (" + e.Err.Error() + ")"
	}
	if e.Remedy != "" {
		line += ": " + e.Remedy
	}
	return line
}

// Unwrap gives the cause.
func (e *DeviceError) Unwrap() error { return e.Err }
