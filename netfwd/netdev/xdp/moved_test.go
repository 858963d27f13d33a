package xdp

import (
	"testing"

	"vvufwd/netfwd/netdev/netdevtest"
)

func TestMovedToAnotherNamespace(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(string(mode), func(t *testing.T) {
			netdevtest.Namespace(t)
			netdevtest.Moved(t, pair(t, mode, 1))
		})
	}
}
