package show

import (
	"fmt"

	"vvufwd/cmd/internal/lab/machine"
)

// network is what stands behind the NIC, as both sides see it.
type network struct {
	backend machine.Backend
	// listen is the host's address that its HTTP server listens on, and host how the app VM names the host.
	listen, host string
	// stop undoes what openNetwork did to the host. May be nil.
	stop func() error
}

// openNetwork prepares QEMU's user networking, or the TAP device with the given name: if that is made, with this many queue pairs and
// this MTU in bytes, where 0 leaves each at what it is by itself. There will be that many app VMs.
func openNetwork(tap string, queues, mtu, appVMs int) (*network, error) {
	if tap != "" {
		return openTAP(tap, queues, mtu)
	}
	// User networking shows the guest the host's loopback under an address of its own.
	n := &network{listen: "127.0.0.1", host: machine.UserHost}
	for range appVMs {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		n.backend.ForwardPorts = append(n.backend.ForwardPorts, port)
	}
	return n, nil
}

// appURL is how the host reaches the HTTP server of an app VM that has its lease.
func (n *network) appURL(a *appVM, path string) string {
	if n.backend.TAP != "" {
		return fmt.Sprintf("http://%s/%s", a.lease.IP(), path)
	}
	return fmt.Sprintf("http://127.0.0.1:%d/%s", n.backend.ForwardPorts[a.number], path)
}

func (n *network) Close() error {
	if n.stop == nil {
		return nil
	}
	return n.stop()
}
