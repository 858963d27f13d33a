package xdp

import (
	"errors"
	"fmt"
	"structs"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
)

// channels is struct ethtool_channels (linux/ethtool.h).
type channels struct {
	_                                   structs.HostLayout
	command                             uint32
	maxRx, maxTx, maxOther, maxCombined uint32
	rx, tx, other, combined             uint32
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct {
	_              structs.HostLayout
	command, value uint32
}

// Flags of ETHTOOL_GFLAGS.
const flagLargeReceive = 1 << 15 // ETH_FLAG_LRO

// channelsOf is how many queues an interface has each way. One whose driver does not tell has one.
func channelsOf(socket int, name string) (rx, tx int, err error) {
	c := channels{command: unix.ETHTOOL_GCHANNELS}
	if err := ethtool(socket, name, &c); errors.Is(err, unix.EOPNOTSUPP) {
		return 1, 1, nil
	} else if err != nil {
		return 0, 0, fmt.Errorf("find out its queues: %w", err)
	}
	return int(c.rx + c.combined), int(c.tx + c.combined), nil
}

// queuesOf is how many sockets an interface takes: frames that arrive at a queue without one would be
// lost.
func queuesOf(socket int, name string, most int) (int, error) {
	rx, tx, err := channelsOf(socket, name)
	switch {
	case err != nil:
		return 0, err
	case rx == 0:
		return 0, errors.New("it has no receive queue")
	case rx > most:
		return 0, fmt.Errorf("it has %d queues, and vvufwd serves %d: let it have fewer (ethtool -L %s combined %d, or rx), or more be served (--queues)", rx, most, name, most)
	case tx < rx:
		return 0, fmt.Errorf("it has %d queues to receive and %d to send, and each socket takes one of both: ethtool -L %s rx %d", rx, tx, name, tx)
	}
	return rx, nil
}

// largeReceive reports whether an interface joins frames that it receives, which few drivers do with an
// XDP program.
func largeReceive(name string) bool {
	socket, err := netdev.Socket()
	if err != nil {
		return false
	}
	defer unix.Close(socket)
	v := ethtoolValue{command: unix.ETHTOOL_GFLAGS}
	return ethtool(socket, name, &v) == nil && v.value&flagLargeReceive != 0
}
