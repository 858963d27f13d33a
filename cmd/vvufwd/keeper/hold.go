package keeper

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vfio"
	"vvufwd/vfio/pci"
)

// hold is the keeper's own descriptor of a device that no IOMMU confines, see vfio.Held. While
// it is there no one else can open the device. Not safe for concurrent use.
type hold struct {
	function pci.Address
	fd       int // -1: nothing is held
	stopDMA  func(fd int) error
}

func newHold(function pci.Address, held vfio.Held) *hold {
	h := &hold{function: function, fd: -1}
	if fd, ok := held.Devices[function]; ok {
		h.fd = fd
	}
	return h
}

// take holds the device of files that the other side has got, if that is of use, and closes
// the rest.
func (h *hold) take(files vfio.Files) {
	if files.Mode != vfio.NoIOMMU {
		_ = files.Close()
		return
	}
	h.fd = files.DeviceFD
	_ = unix.Close(files.GroupFD)
}

// letGo stops the device and closes it.
func (h *hold) letGo() error {
	if h.fd < 0 {
		return nil
	}
	err := errors.Join(h.stopDMA(h.fd), unix.Close(h.fd))
	if h.fd = -1; err != nil {
		return fmt.Errorf("%v: %w", h.function, err)
	}
	return nil
}
