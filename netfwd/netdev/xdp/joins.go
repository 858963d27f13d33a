package xdp

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netlink"
	"vvufwd/virtio"
)

// Drivers refuse an XDP program while frames reach them joined: of many that the NIC has received one is made, which lies in more than
// one buffer. What to do depends on who joins them.

// joiner is who joins what an interface receives.
type joiner int

const (
	noJoiner     joiner = iota
	switchedOn          // the NIC, and its driver can have it stop
	virtioDevice        // the host, which a virtio-net device without CTRL_GUEST_OFFLOADS cannot tell to stop
)

// joinerOf finds out who it is.
func joinerOf(name string) joiner {
	if f, ok := virtioFeatures(name); ok && f&joinedFrames != 0 && f&virtio.NetCtrlGuestOffl == 0 {
		return virtioDevice
	}
	if joins(name) {
		return switchedOn
	}
	return noJoiner
}

// remedy is what can make a driver accept a program that it has refused with an error; empty: nothing can.
func (j joiner) remedy(name string, refused error) string {
	r, _ := errors.AsType[*netlink.Refusal](refused)
	switch j {
	case virtioDevice:
		return fmt.Sprintf("the host joins what %s receives, and leaves checksums undone: let its virtio-net device have ctrl_guest_offloads, "+
			"or no guest_csum, guest_tso4, guest_tso6, guest_ecn and guest_ufo", name)
	case switchedOn:
		return fmt.Sprintf("have it receive frames as they are (ethtool -K %s lro off rx-gro-hw off)", name)
	}
	switch {
	case r == nil || r.Text == "" || strings.Contains(strings.ToUpper(r.Text), "MTU"):
	case strings.Contains(r.Text, "not support XDP"):
		return ""
	default: // it says itself what is in the way
		return "change what it names"
	}
	return fmt.Sprintf("a smaller MTU may help (ip link set %s mtu 1500)", name)
}

// joinedFrames are the features by which a host may hand over joined frames, or such without a checksum.
const joinedFrames = virtio.NetGuestCsum | virtio.NetGuestTSO4 | virtio.NetGuestTSO6 | virtio.NetGuestECN | virtio.NetGuestUFO

// virtioFeatures are those that the driver of a virtio-net device has negotiated.
func virtioFeatures(name string) (virtio.Features, bool) {
	if driver, _ := netdev.Driver(name); driver != "virtio_net" {
		return 0, false
	}
	text, err := os.ReadFile("/sys/class/net/" + name + "/device/features")
	if err != nil {
		return 0, false
	}
	return parseFeatures(string(text)), true
}

// parseFeatures reads what sysfs says, bit 0 first.
func parseFeatures(text string) (f virtio.Features) {
	for i, bit := range text {
		if bit == '1' && i < 64 {
			f |= 1 << i
		}
	}
	return f
}

// joins reports whether the NIC of an interface does.
func joins(name string) bool {
	socket, err := netdev.Socket()
	if err != nil {
		return false
	}
	defer unix.Close(socket)
	return featureOn(socket, name, "rx-lro", "rx-gro-hw")
}
