package show

import (
	"fmt"

	"vvufwd/cmd/vvudemo/machine"
)

// network is what stands behind the NIC, as both sides see it.
type network struct {
	backend machine.Backend
	// listen is the host's address that its HTTP server listens on, and host how the app VM names the host.
	listen, host string
	// stop undoes what openNetwork did to the host. May be nil.
	stop func() error
}

// openNetwork prepares QEMU's user networking, or the TAP device with the given name.
func openNetwork(tap string) (*network, error) {
	if tap != "" {
		return openTAP(tap)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	// User networking shows the guest the host's loopback under an address of its own.
	return &network{backend: machine.Backend{ForwardPort: port}, listen: "127.0.0.1", host: machine.UserHost}, nil
}

// appURL is how the host reaches the app VM's HTTP server, given the app VM's address.
func (n *network) appURL(ip, path string) string {
	if n.backend.TAP != "" {
		return fmt.Sprintf("http://%s/%s", ip, path)
	}
	return fmt.Sprintf("http://127.0.0.1:%d/%s", n.backend.ForwardPort, path)
}

func (n *network) Close() error {
	if n.stop == nil {
		return nil
	}
	return n.stop()
}
