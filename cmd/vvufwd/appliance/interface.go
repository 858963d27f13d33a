package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// How long we wait for an interface after the modules of its driver were loaded: devices on USB
// are found after that, and drivers that need firmware take their time.
const (
	interfaceTimeout = 10 * time.Second
	interfacePoll    = 20 * time.Millisecond
)

// SetInterfaceUp waits until there is an interface of that name, within reason, and sets it up, with an MTU
// of so many bytes unless that is 0. No one else does on a machine that is ours. The machine's own protocols stay out of it.
//
// It returns at once when stopped says so.
func SetInterfaceUp(name string, mtu int, log *zap.Logger, stopped func() bool) error {
	return thisMachine(log).setInterfaceUp(name, mtu, stopped)
}

func (m *machine) setInterfaceUp(name string, mtu int, stopped func() bool) error {
	found, err := m.findInterface(name)
	for waited := time.Duration(0); errors.Is(err, netdev.ErrNotThere) && waited < interfaceTimeout && !stopped(); waited += interfacePoll {
		if waited == 0 {
			m.log.Info("waiting for an interface", zap.String("interface", name), zap.Duration("at most", interfaceTimeout))
		}
		m.sleep(interfacePoll)
		found, err = m.findInterface(name)
	}
	if errors.Is(err, netdev.ErrNotThere) {
		return fmt.Errorf("%w; name the modules of its driver (--modules) and have them, and its firmware, in the initramfs", err)
	}
	if err != nil {
		return err
	}
	// With IPv6 this machine would send frames of its own, and answer those for its address. This
	// is for all interfaces, and for those that come back as new ones.
	err = m.writeSetting(m.path("proc/sys/net/ipv6/conf/all/disable_ipv6"), "1")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("this machine may send frames of its own through an interface", zap.String("interface", found), zap.Error(err))
	}
	if err := m.setUp(found, mtu); err != nil {
		err = fmt.Errorf("interface %s: set it up: %w", found, err)
		if errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w: the driver lacks its firmware, put it into the initramfs below /lib/firmware", err)
		}
		return err
	}
	return nil
}

// setUp sets an interface up, see SetInterfaceUp.
func setUp(name string, mtu int) error {
	socket, err := netdev.Socket()
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	return netdev.SetUp(socket, name, mtu)
}
