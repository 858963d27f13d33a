package netdev_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"vvufwd/netfwd/netdev"
	"vvufwd/netfwd/netdev/netdevtest"
)

// An interface that is renamed just after its name was found out is not taken to be gone, nor is one without a name.
func TestRenamedMeanwhile(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.IP(t, "link add v0 type veth peer name v1")
	socket := netdevtest.Socket(t)
	names := []string{"v2", "v3", "v0"}
	s, err := netdev.QueryNamed(socket, func() (string, error) {
		name := names[0]
		names = names[1:]
		return name, nil
	})
	if err != nil || s.Name != "v0" {
		t.Errorf("%+v, %v", s, err)
	}
	// Between two names it has none for a while; only who does not find it at all may say that it is gone.
	if _, err := netdev.QueryNamed(socket, func() (string, error) { return "none", nil }); !errors.Is(err, netdev.ErrRenaming) {
		t.Errorf("an interface that has no name: %v", err)
	}
	if _, err := netdev.QueryNamed(socket, func() (string, error) { return "", unix.ENODEV }); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an interface that is gone: %v", err)
	}
}
