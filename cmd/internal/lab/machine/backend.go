package machine

import "fmt"

// Addresses of QEMU's user networking.
const (
	UserHost = "10.0.2.2" // the host, as a guest sees it

	firstUserGuest = 15 // 10.0.2.15 is the guest that asks first, the next one gets the next address
)

// Backend is what a network device of QEMU is connected to.
type Backend struct {
	// TAP is the name of a TAP device. Empty means QEMU's user networking.
	TAP string
	// Queues is the number of the TAP device's queue pairs. 0 means one. User networking has one always.
	Queues int
	// ForwardPorts are ports of the host's loopback that user networking forwards to port 80 of its guests, in the order of their
	// addresses.
	ForwardPorts []int
}

func (b Backend) netdev(id string) string {
	if b.TAP != "" {
		return fmt.Sprintf("tap,id=%s,ifname=%s,script=no,downscript=no,vhost=off", id, quote(b.TAP)) + queues(b.Queues)
	}
	text := fmt.Sprintf("user,id=%s,ipv6=off", id)
	for i, port := range b.ForwardPorts {
		text += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-10.0.2.%d:80", port, firstUserGuest+i)
	}
	return text
}
