package packet

import (
	"testing"

	"vvufwd/netfwd/netdev/netdevtest"
)

// Large segments of a tunnel of the machine itself: the kernel (6.18) describes them by a header that is not true of the frame, which is
// refused and counted. One that says that it has none would cost the ring (see stuck.go), and no other frame.
func TestTunnelledSegments(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 mtu 9000 type veth peer name v1 mtu 9000")
	netdevtest.IP(t, "link set v1 up")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.Tunnel(t, "v0")
	p := &netdevtest.Pair{A: openDevice(t, "vx0", 1), B: openDevice(t, "v1", 1), Name: "vx0"}
	p.RunAnyMTU(t)
	lost := netdevtest.Tunnelled(t, p.A, p.B)
	t.Logf("%d were lost", lost)
}
