package machine

import "fmt"

// Addresses of QEMU's user networking.
const (
	UserHost  = "10.0.2.2"  // the host, as a guest sees it
	UserGuest = "10.0.2.15" // the first guest
)

// Backend is what a network device of QEMU is connected to.
type Backend struct {
	// TAP is the name of a TAP device. Empty means QEMU's user networking.
	TAP string
	// ForwardPort is the port of the host's loopback that user networking forwards to port 80 of the guest.
	ForwardPort int
}

func (b Backend) netdev(id string) string {
	if b.TAP != "" {
		return fmt.Sprintf("tap,id=%s,ifname=%s,script=no,downscript=no,vhost=off", id, quote(b.TAP))
	}
	return fmt.Sprintf("user,id=%s,ipv6=off,hostfwd=tcp:127.0.0.1:%d-%s:80", id, b.ForwardPort, UserGuest)
}
