package tap

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

func TestTAP(t *testing.T) {
	for _, queues := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d queues", queues), func(t *testing.T) {
			netdevtest.Suite(t, func(t *testing.T) *netdevtest.Pair { return pair(t, queues) })
		})
	}
}

// pair is two TAP devices in a bridge.
func pair(t testing.TB, queues int) *netdevtest.Pair {
	a, b := open(t, "t0", queues), open(t, "t1", queues)
	if len(a.Ports()) != queues {
		t.Fatalf("%d queue pairs, want %d", len(a.Ports()), queues)
	}
	netdevtest.IP(t, "link add br0 mtu 9000 type bridge ageing_time 0 mcast_snooping 0")
	netdevtest.IP(t, "link set br0 up")
	join := func(t testing.TB, name string) {
		netdevtest.IP(t, "link set "+name+" mtu 9000 master br0 up")
	}
	join(t, "t0")
	join(t, "t1")
	kind := ""
	if queues > 1 {
		kind = " multi_queue"
	}
	return &netdevtest.Pair{
		A: a, B: b, Name: "t0",
		Away: func(t testing.TB) { netdevtest.IP(t, "link del t0") },
		Back: func(t testing.TB) {
			netdevtest.IP(t, "tuntap add t0 mode tap vnet_hdr"+kind)
			join(t, "t0")
		},
	}
}

func open(t testing.TB, name string, queues int) *netdev.Device {
	t.Helper()
	return netdevtest.Device(t, "tap:"+name, func() ([]*os.File, error) { return Open(name, queues) }, New)
}

func anyMacvtap(name string, queues int) ([]*os.File, error) { return OpenMacvtap(name, "", queues) }

// What cannot be opened is told in one line that says what to do.
func TestErrors(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	netdevtest.IP(t, "link set lo up")
	netdevtest.IP(t, "tuntap add t0 mode tap")
	netdevtest.IP(t, "tuntap add busy mode tap")
	netdevtest.IP(t, "link set busy up")
	held, err := Open("busy", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(held)
	for _, test := range []struct {
		name, want string
		open       func(string, int) ([]*os.File, error)
	}{
		{"v0", "no TAP device: for another interface use packet:v0", Open},
		{"t0", "is down: ip link set t0 up", Open},
		{"busy", "another program has it", Open},
		{"a/b", "no interface can have that name", Open},
		{strings.Repeat("x", 16), "too long", Open},
		{"none", "ip link shows those that there are", anyMacvtap},
		{"v1", "is down: ip link set v1 up", anyMacvtap},
		{"lo", "it cannot have a macvtap interface", anyMacvtap},
	} {
		files, err := test.open(test.name, 2)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || files != nil {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if _, err := OpenFDs(pipe[:1]); err == nil || !strings.Contains(err.Error(), "must be an open TAP device") {
		t.Errorf("a pipe: %v", err)
	}
}

// A descriptor that someone else opened is as good as one of ours.
func TestHandedOver(t *testing.T) {
	netdevtest.Namespace(t)
	fd, err := unix.Open(node, unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := attach(fd, "t0", false); err != nil {
		t.Fatal(errors.Join(err, unix.Close(fd)))
	}
	netdevtest.IP(t, "link set t0 up")
	d := netdevtest.Device(t, "tap:fd", func() ([]*os.File, error) { return OpenFDs([]int{fd}) }, New)
	if !d.Up() {
		t.Error("no link")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if gone, err := netdev.Socket(); err == nil {
		if _, err := netdev.Query(gone, "t0"); !errors.Is(err, unix.ENODEV) {
			t.Errorf("the device is there still: %v", err)
		}
		unix.Close(gone)
	}
}

// BenchmarkNICCore is for make corebench.
func BenchmarkNICCore(b *testing.B) {
	netdevtest.Measure(b, func(b testing.TB) *netdevtest.Pair { return pair(b, 1) })
}
