package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev/netlink"
)

// What is asked for by netlink: which program an interface has, why it cannot have ours, and what its driver
// can do with sockets.

// attached returns the program that an interface has, 0 for none, and whether it is a generic one.
func attached(index int) (program uint32, generic bool, err error) {
	answer, err := netlink.Request(unix.NETLINK_ROUTE, unix.RTM_GETLINK, 0, netlink.InterfaceBody(index))
	if err != nil || len(answer) < unix.SizeofIfInfomsg {
		return 0, false, fmt.Errorf("find out its XDP program: %w", err)
	}
	xdp := netlink.Attributes(netlink.Attributes(answer[unix.SizeofIfInfomsg:])[unix.IFLA_XDP])
	for _, kind := range []uint16{unix.IFLA_XDP_DRV_PROG_ID, unix.IFLA_XDP_SKB_PROG_ID, unix.IFLA_XDP_HW_PROG_ID, unix.IFLA_XDP_PROG_ID} {
		if id := netlink.AsWord(xdp[kind]); id != 0 {
			return id, kind == unix.IFLA_XDP_SKB_PROG_ID, nil
		}
	}
	return 0, false, nil
}

// explainRefusal finds out what the driver says about a program that it has refused: links do not
// tell. Should it take it now, that is undone.
func explainRefusal(index, program int, flags uint32, refused error) error {
	set := func(fd int, flags uint32) error {
		xdp := append(netlink.Attribute(unix.IFLA_XDP_FD, netlink.Word(uint32(fd))), netlink.Attribute(unix.IFLA_XDP_FLAGS, netlink.Word(flags))...)
		_, err := netlink.Request(unix.NETLINK_ROUTE, unix.RTM_SETLINK, 0, netlink.InterfaceBody(index, netlink.Attribute(unix.IFLA_XDP|unix.NLA_F_NESTED, xdp)...))
		return err
	}
	err := set(program, flags|unix.XDP_FLAGS_UPDATE_IF_NOEXIST)
	if err == nil {
		_ = set(-1, flags)
		return refused
	}
	var r *netlink.Refusal
	if errors.As(err, &r) && r.Text != "" {
		return r
	}
	return refused
}

// Of the generic netlink family netdev (linux/netdev.h), which golang.org/x/sys has not.
const (
	netdevGet          = 1 // NETDEV_CMD_DEV_GET
	netdevIndex        = 1 // NETDEV_A_DEV_IFINDEX
	netdevXSKFeatures  = 6 // NETDEV_A_DEV_XSK_FEATURES
	xskTxChecksum      = 1 << 1
	genericHeaderBytes = 4
)

// completesChecksums reports whether a driver completes checksums with zero copy. One that
// does not say so does not.
func completesChecksums(index int) bool {
	header := func(command byte) []byte { return []byte{command, 1, 0, 0} }
	answer, err := netlink.Request(unix.NETLINK_GENERIC, unix.GENL_ID_CTRL, 0,
		append(header(unix.CTRL_CMD_GETFAMILY), netlink.Attribute(unix.CTRL_ATTR_FAMILY_NAME, []byte("netdev\x00"))...))
	if err != nil || len(answer) < genericHeaderBytes {
		return false
	}
	family := netlink.Attributes(answer[genericHeaderBytes:])[unix.CTRL_ATTR_FAMILY_ID]
	if len(family) < 2 {
		return false
	}
	answer, err = netlink.Request(unix.NETLINK_GENERIC, binary.NativeEndian.Uint16(family), 0,
		append(header(netdevGet), netlink.Attribute(netdevIndex, netlink.Word(uint32(index)))...))
	if err != nil || len(answer) < genericHeaderBytes {
		return false
	}
	return netlink.AsWord(netlink.Attributes(answer[genericHeaderBytes:])[netdevXSKFeatures])&xskTxChecksum != 0
}
