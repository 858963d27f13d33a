package testpmd

import (
	"fmt"
	"strings"
)

// Port is one of testpmd's ports.
type Port interface {
	// device is the --vdev argument of port number i.
	device(i int) string
	// frontend reports whether it plays the guest's side.
	frontend() bool
}

// Vhost is a port that is the back-end of a vhost-user socket.
type Vhost struct {
	Socket string
	Client bool // connect to the socket instead of listening on it
	// Options are further ones of the driver, such as "tso=0".
	Options []string
}

func (v Vhost) device(i int) string {
	options := []string{fmt.Sprintf("net_vhost%d", i), "iface=" + v.Socket, "queues=1"}
	if v.Client {
		options = append(options, "client=1")
	}
	return strings.Join(append(options, v.Options...), ",")
}

func (Vhost) frontend() bool { return false }

// VirtioUser is a port that is the front-end of a vhost-user socket.
type VirtioUser struct {
	Socket    string
	QueueSize int  // entries of each ring; 0: 256
	Queues    int  // pairs; 0: 1. Testpmd uses as many as its arguments --rxq and --txq say
	Server    bool // listen on the socket instead of connecting to it
	// Options are further ones of the driver, such as "mrg_rxbuf=0".
	Options []string
}

const defaultQueueSize = 256

func (v VirtioUser) device(i int) string {
	size := v.QueueSize
	if size == 0 {
		size = defaultQueueSize
	}
	options := []string{fmt.Sprintf("net_virtio_user%d", i), "path=" + v.Socket, fmt.Sprintf("queues=%d", max(v.Queues, 1)), fmt.Sprintf("queue_size=%d", size)}
	if v.Server {
		options = append(options, "server=1")
	}
	return strings.Join(append(options, v.Options...), ",")
}

func (VirtioUser) frontend() bool { return true }

// Interface is a port over one of the kernel's interfaces, with one queue.
type Interface struct {
	Driver string // "net_af_packet", "net_tap" …
	Name   string // of the interface
}

func (p Interface) device(i int) string { return fmt.Sprintf("%s%d,iface=%s", p.Driver, i, p.Name) }

func (Interface) frontend() bool { return false }
