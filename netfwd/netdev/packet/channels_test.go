package packet

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev/netdevtest"
)

// channels is struct ethtool_channels.
type channels struct {
	cmd    uint32
	_      [4]uint32 // the most of each
	rx, tx uint32
	_      [2]uint32 // others, and combined ones
}

// setChannels is what "ethtool -L" does.
func setChannels(t *testing.T, socket int, name string, n uint32) {
	t.Helper()
	var request struct {
		name [unix.IFNAMSIZ]byte
		data *channels
		_    [16]byte
	}
	copy(request.name[:], name)
	request.data = &channels{cmd: unix.ETHTOOL_SCHANNELS, rx: n, tx: n}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatalf("%s: set %d channels: %v", name, n, errno)
	}
}

// An interface whose queue count changes while frames pass, which takes its link down for moments, goes on.
func TestQueueCountChanges(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 mtu 9000 numtxqueues 4 numrxqueues 4 type veth peer name v1 mtu 9000 numtxqueues 4 numrxqueues 4")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link set v1 up")
	p := &netdevtest.Pair{A: openDevice(t, "v0", 1), B: openDevice(t, "v1", 1), Name: "v0"}
	p.Run(t)
	socket := netdevtest.Socket(t)
	for n := range uint32(20) {
		setChannels(t, socket, "v0", n%4+1)
		setChannels(t, socket, "v1", (n+1)%4+1)
		p.Passes(t, time.Minute)
	}
}
