package netdev_test

import (
	"errors"
	"strings"
	"testing"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

// An interface is found by any of its names, and only in the network namespace that we are in.
func TestLookup(t *testing.T) {
	netdevtest.Namespace(t)
	long := strings.Repeat("long-", 20)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	netdevtest.IP(t, "link property add dev v0 altname short altname "+long)
	for _, name := range []string{"v0", "short", long} {
		if got, err := netdev.Lookup(name); err != nil || got != "v0" {
			t.Errorf("%s: %q, %v, want v0", name, got, err)
		}
	}
	for _, name := range []string{"none", strings.Repeat("none-", 20)} {
		if _, err := netdev.Lookup(name); !errors.Is(err, netdev.ErrNotThere) || !strings.Contains(err.Error(), "there are ") ||
			!strings.Contains(err.Error(), "v1") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "a/b", "0000:00:04.0", strings.Repeat("x", 128)} {
		if _, err := netdev.Lookup(name); err == nil || errors.Is(err, netdev.ErrNotThere) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if driver, place := netdev.Driver("v0"); driver != "veth" || place != "" {
		t.Errorf("v0 is driven by %q at %q", driver, place)
	}
}
