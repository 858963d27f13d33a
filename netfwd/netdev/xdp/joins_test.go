package xdp

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev/netdevtest"
	"vvufwd/netfwd/netdev/netlink"
	"vvufwd/virtio"
)

// What is on at an interface is found by the kernel's names, also after it was switched.
func TestFeatureOn(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	socket := netdevtest.Socket(t)
	for _, on := range []uint32{0, 1, 0} {
		if err := ethtool(socket, "v0", &ethtoolValue{unix.ETHTOOL_SGRO, on}); err != nil {
			t.Fatal(err)
		}
		if got := featureOn(socket, "v0", "no-such-feature", "rx-gro"); got != (on != 0) {
			t.Errorf("rx-gro was set to %d: on is %v", on, got)
		}
	}
	if featureOn(socket, "none", "rx-gro") {
		t.Error("an interface that does not exist has a feature")
	}
	if j := joinerOf("v0"); j != noJoiner {
		t.Errorf("a veth pair: %d", j)
	}
}

// Who joins frames is told what can be done about it.
func TestRemedy(t *testing.T) {
	said := func(text string) error {
		return fmt.Errorf("attach: %w", &netlink.Refusal{Errno: unix.EOPNOTSUPP, Text: text})
	}
	for _, tt := range []struct {
		joiner  joiner
		refused error
		want    string
	}{
		{noJoiner, unix.EOPNOTSUPP, "ip link set eth1 mtu 1500"},
		{noJoiner, said(""), "ip link set eth1 mtu 1500"},
		{noJoiner, said("MTU too large for XDP"), "ip link set eth1 mtu 1500"},
		{noJoiner, said("too few queues"), "change what it names"},
		{noJoiner, said("Underlying driver does not support XDP in native mode"), ""},
		{switchedOn, said("no XDP with LRO"), "ethtool -K eth1 lro off rx-gro-hw off"},
		{virtioDevice, said("GRO_HW/CSUM"), "ctrl_guest_offloads"},
	} {
		if got := tt.joiner.remedy("eth1", tt.refused); !strings.Contains(got, tt.want) || tt.want == "" && got != "" || strings.Contains(got, "\n") {
			t.Errorf("%d, %v: %q, want %q", tt.joiner, tt.refused, got, tt.want)
		}
	}
	const text = "1100010110000000000000000000000010000000000000000000000000000000\n"
	if got, want := parseFeatures(text), virtio.NetCsum|virtio.NetGuestCsum|virtio.NetMAC|virtio.NetGuestTSO4|virtio.NetGuestTSO6|virtio.Version1; got != want {
		t.Errorf("features %v, want %v", got, want)
	}
}

// TestCompletes leaves no checksum to a kernel that would send it undone.
func TestCompletes(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	v0, err := net.InterfaceByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		driver string
		mode   Mode
		want   bool
	}{
		{"virtio_net", Native, false}, {"virtio_net", Generic, false}, {"virtio_net", ZeroCopy, false},
		{"e1000e", Generic, true}, {"igb", Native, true}, {"", Generic, true},
		{"veth", ZeroCopy, false}, // it does not say that it does
	} {
		op := opening{properties: properties{Index: v0.Index, Driver: tt.driver, Mode: tt.mode}}
		if got := op.completes(); got != tt.want {
			t.Errorf("driver %q, mode %s: %v, want %v", tt.driver, tt.mode, got, tt.want)
		}
	}
}
