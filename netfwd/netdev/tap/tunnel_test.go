package tap

import (
	"os"
	"testing"

	"vvufwd/netfwd/netdev/netdevtest"
	"vvufwd/netfwd/netdev/packet"
)

// Large segments in a tunnel that leads through a TAP device: we have not said that we take such, so the kernel cuts them before, and
// none is lost.
func TestTunnelledSegments(t *testing.T) {
	netdevtest.Namespace(t)
	d := open(t, "t0", 1)
	netdevtest.IP(t, "link set t0 mtu 9000 up")
	netdevtest.Tunnel(t, "t0")
	in := netdevtest.Device(t, "packet:vx0", func() ([]*os.File, error) { return packet.Open("vx0", 1) }, packet.New)
	p := &netdevtest.Pair{A: in, B: d, Name: "vx0"}
	p.RunAnyMTU(t)
	if lost := netdevtest.Tunnelled(t, p.A, p.B); lost != 0 {
		t.Errorf("%d were lost", lost)
	}
}
