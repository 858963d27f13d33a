package xdp

import (
	"errors"
	"fmt"
	"slices"
	"structs"

	"golang.org/x/sys/unix"
)

// channels is struct ethtool_channels (linux/ethtool.h).
type channels struct {
	_                                   structs.HostLayout
	command                             uint32
	maxRx, maxTx, maxOther, maxCombined uint32
	rx, tx, other, combined             uint32
}

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

// stringSetInfo is struct ethtool_sset_info, for one set.
type stringSetInfo struct {
	_       structs.HostLayout
	command uint32
	_       uint32
	mask    uint64 // of sets, by their numbers
	strings uint32
	_       uint32
}

// maxFeatures is how many features of an interface we can read; Linux 6.18 has 63.
const maxFeatures = 256

// featureNames is struct ethtool_gstrings.
type featureNames struct {
	_            structs.HostLayout
	command, set uint32
	n            uint32
	names        [maxFeatures][32]byte
}

// featureBlocks is struct ethtool_gfeatures.
type featureBlocks struct {
	_             structs.HostLayout
	command, size uint32
	blocks        [maxFeatures / 32]struct{ available, requested, active, neverChanged uint32 }
}

const setOfFeatures = 4 // ETH_SS_FEATURES

// featureOn reports whether an interface has one of these features on.
func featureOn(socket int, name string, features ...string) bool {
	info := stringSetInfo{command: unix.ETHTOOL_GSSET_INFO, mask: 1 << setOfFeatures}
	if ethtool(socket, name, &info) != nil || info.mask == 0 || info.strings > maxFeatures { // the kernel writes as many as it has
		return false
	}
	s := featureNames{command: unix.ETHTOOL_GSTRINGS, set: setOfFeatures, n: info.strings}
	b := featureBlocks{command: unix.ETHTOOL_GFEATURES, size: uint32(len(featureBlocks{}.blocks))}
	if ethtool(socket, name, &s) != nil || ethtool(socket, name, &b) != nil {
		return false
	}
	for i := range min(s.n, maxFeatures) {
		if b.blocks[i/32].active>>(i%32)&1 != 0 && slices.Contains(features, unix.ByteSliceToString(s.names[i][:])) {
			return true
		}
	}
	return false
}
