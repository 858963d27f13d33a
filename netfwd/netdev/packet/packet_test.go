package packet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

func TestPacketSockets(t *testing.T) {
	for _, queues := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d queues", queues), func(t *testing.T) {
			netdevtest.Suite(t, func(t *testing.T) *netdevtest.Pair { return pair(t, queues) })
		})
	}
}

// pair is a veth pair with packet sockets at both ends.
func pair(t testing.TB, queues int) *netdevtest.Pair {
	link := func(t testing.TB) {
		netdevtest.IP(t, "link add v0 mtu 9000 type veth peer name v1 mtu 9000")
		netdevtest.IP(t, "link set v0 up")
		netdevtest.IP(t, "link set v1 up")
	}
	link(t)
	p := &netdevtest.Pair{
		A: openDevice(t, "v0", queues), B: openDevice(t, "v1", queues), Name: "v0",
		Away: func(t testing.TB) { netdevtest.IP(t, "link del v0") },
		Back: link,
	}
	if len(p.A.Ports()) != queues {
		t.Fatalf("%d queue pairs, want %d", len(p.A.Ports()), queues)
	}
	return p
}

// A link that is not there yet is waited for as long as is asked, and not longer.
func TestAwaitLink(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	d := openDevice(t, "v0", 1)
	defer d.Close()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if d.AwaitLink(soon) || d.Up() {
		t.Error("a link with no one at the other end")
	}
	netdevtest.IP(t, "link set v1 up")
	if !d.AwaitLink(t.Context()) || !d.Up() || !d.Stats().Link {
		t.Error("no link")
	}
}

func openDevice(t testing.TB, name string, queues int) *netdev.Device {
	t.Helper()
	return netdevtest.Device(t, "packet:"+name, func() ([]*os.File, error) { return Open(name, queues) }, New)
}

// What cannot be opened is told in one line that says what to do.
func TestErrors(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set lo up")
	for name, want := range map[string]string{
		"v0": "is down: ip link set v0 up", "none": "does not exist", "lo": "carries no Ethernet frames", strings.Repeat("x", 16): "too long",
	} {
		if _, err := Open(name, 1); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// A socket hears what is for others, and all groups, for as long as it is open: a Wi-Fi card knows both separately.
func TestEverythingIsHeard(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link set v0 up")
	hears := func(n int) {
		t.Helper()
		out, err := exec.Command("ip", "-d", "link", "show", "v0").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"promiscuity", "allmulti"} { // the latter since Linux 6.0
			if say := fmt.Sprintf("%s %d ", what, n); strings.Contains(string(out), what) && !strings.Contains(string(out), say) {
				t.Errorf("want %q in %s", say, out)
			}
		}
	}
	hears(0)
	files, err := Open("v0", 1)
	if err != nil {
		t.Fatal(err)
	}
	hears(1)
	if err := files[0].Close(); err != nil {
		t.Fatal(err)
	}
	hears(0)
}

// BenchmarkNICCore is for make corebench.
func BenchmarkNICCore(b *testing.B) {
	netdevtest.Measure(b, func(b testing.TB) *netdevtest.Pair { return pair(b, 1) })
}
