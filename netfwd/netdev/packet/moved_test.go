package packet

import (
	"testing"

	"vvufwd/netfwd/netdev/netdevtest"
)

func TestMovedToAnotherNamespace(t *testing.T) {
	netdevtest.Namespace(t)
	netdevtest.Moved(t, pair(t, 1))
}
